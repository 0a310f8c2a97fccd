rule corpus:
    output:
        # Contents of files below 1 MB decide about reruns, so training hangs on this small one.
        data_hash="results/corpora/{corpus}/data_hash",
        manifest="results/corpora/{corpus}/manifest.json",
        tokenizer="results/corpora/{corpus}/tokenizer.json",
        train="results/corpora/{corpus}/train.bin",
        tuning="results/corpora/{corpus}/tuning.bin",
        test="results/corpora/{corpus}/test.bin",
    log:
        "results/corpora/{corpus}/logs/corpus.log",
    benchmark:
        "results/corpora/{corpus}/logs/corpus.tsv"
    wildcard_constraints:
        corpus=PLAN.corpus_id,
    conda:
        ENVIRONMENT
    threads: workflow.cores
    params:
        spec=canonical_json(PLAN.corpus),
        code=code_digest(*CODE["corpus"]),
    shell:
        "scalelab corpus --spec {params.spec:q}"
        " --out results/corpora/{wildcards.corpus} --log {log:q}"
