rule trunk:
    input:
        data_hash=data_of_trunk,
        files=of_corpus_of_trunk(files_of_corpus),
        sums=of_corpus_of_trunk(sums_of_corpus),
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
        init=trunk_init,
        processes=trunk_processes,
        machine=run_machine,
        code=trunk_code,
    shell:
        verified(
            "scalelab trunk --spec {params.spec:q} --corpus {params.corpus:q}"
            " --steps {wildcards.steps} {params.start} {params.init} --out {output.state:q}"
            " --threads {threads} {params.processes} {params.machine} --log {log:q}"
        )


rule train:
    input:
        data_hash=data_of_run,
        files=of_corpus_of_run(files_of_corpus),
        sums=of_corpus_of_run(sums_of_corpus),
        start=trunk_of_run,
        teacher=teacher_of_run,
    output:
        # In the order in which they go to a storage provider: the last says that all are there.
        checkpoint=checkpoint_of_run() if STORED else directory(checkpoint_of_run()),
        metrics=f"{RUN}/metrics.jsonl",
        run=f"{RUN}/run.json",
        sums=if_stored(SUMS),
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
        results=subpath(output.run, ancestor=3),
        spec=spec,
        processes=run_processes,
        machine=run_machine,
        start=lambda wildcards, input: as_option("--start", input.start),
        teacher=teacher_option,
        init=init_option,
        code=train_code,
    shell:
        verified(
            "scalelab train --spec {params.spec:q} --corpus {params.corpus:q} {params.start}"
            " {params.teacher} {params.init} --out results/runs/{wildcards.run} --threads {threads}"
            " {params.processes} {params.machine} --log {log:q}",
            then=WRITE_SUMS,
        )
