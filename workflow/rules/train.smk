rule train:
    input:
        data_hash=f"{CORPUS}/data_hash",
    output:
        run=f"{RUN}/run.json",
        metrics=f"{RUN}/metrics.jsonl",
        checkpoint=directory(f"{RUN}/checkpoint"),
    log:
        f"{RUN}/logs/train.log",
    benchmark:
        f"{RUN}/logs/train.tsv"
    priority: costliest_first
    conda:
        ENVIRONMENT
    threads: run_threads
    params:
        corpus=subpath(input.data_hash, parent=True),
        spec=spec,
        code=train_code,
    shell:
        "scalelab train --spec {params.spec:q} --corpus {params.corpus:q}"
        " --out results/runs/{wildcards.run} --threads {threads} --log {log:q}"
