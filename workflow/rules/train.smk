rule trunk:
    input:
        data_hash=data_of_trunk,
        start=trunk_before,
    output:
        state="results/trunks/{trunk}/{steps}.state",
    log:
        "results/trunks/{trunk}/logs/{steps}.log",
    benchmark:
        "results/trunks/{trunk}/logs/{steps}.tsv"
    # Before all runs: these wait for it.
    priority: len(RUNS) + 1
    conda:
        ENVIRONMENT
    threads: run_threads
    resources:
        mem_mb=run_megabytes,
        runtime=run_minutes,
        gpu=run_gpus,
        nodes=of_several_nodes(None),
        tasks=of_several_nodes(None),
        tasks_per_gpu=of_several_nodes(0),
        mpi=of_several_nodes("srun"),
    params:
        corpus=subpath(input.data_hash, parent=True),
        spec=trunk_spec,
        start=lambda wildcards, input: as_option("--start", input.start),
        processes=trunk_processes,
        machine=run_machine,
        code=trunk_code,
    shell:
        "scalelab trunk --spec {params.spec:q} --corpus {params.corpus:q}"
        " --steps {wildcards.steps} {params.start} --out {output.state:q}"
        " --threads {threads} --processes {params.processes} {params.machine} --log {log:q}"


rule train:
    input:
        data_hash=data_of_run,
        start=trunk_of_run,
    output:
        run=f"{RUN}/run.json",
        metrics=f"{RUN}/metrics.jsonl",
        checkpoint=directory(f"{RUN}/checkpoint"),
    log:
        f"{RUN}/logs/train.log",
    benchmark:
        f"{RUN}/logs/train.tsv"
    priority: costliest_first
    group:
        run_group
    conda:
        ENVIRONMENT
    threads: run_threads
    resources:
        mem_mb=run_megabytes,
        runtime=run_minutes,
        gpu=run_gpus,
        # With `mpi` SLURM's executor leaves it to the job to start its processes.
        nodes=of_several_nodes(None),
        tasks=of_several_nodes(None),
        tasks_per_gpu=of_several_nodes(0),
        mpi=of_several_nodes("srun"),
    params:
        corpus=subpath(input.data_hash, parent=True),
        spec=spec,
        processes=run_processes,
        machine=run_machine,
        start=lambda wildcards, input: as_option("--start", input.start),
        code=train_code,
    shell:
        "scalelab train --spec {params.spec:q} --corpus {params.corpus:q} {params.start}"
        " --out results/runs/{wildcards.run} --threads {threads}"
        " --processes {params.processes} {params.machine} --log {log:q}"
