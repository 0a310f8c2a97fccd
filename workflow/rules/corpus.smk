rule corpus:
    output:
        # For a file below 1 MB the content decides, not the time: training hangs on this one.
        data_hash="results/corpora/{corpus}/data_hash",
        manifest="results/corpora/{corpus}/manifest.json",
        tokenizer="results/corpora/{corpus}/tokenizer.json",
        train="results/corpora/{corpus}/train.bin",
        tuning="results/corpora/{corpus}/tuning.bin",
        test="results/corpora/{corpus}/test.bin",
        tuning_documents="results/corpora/{corpus}/tuning.docs.json",
        test_documents="results/corpora/{corpus}/test.docs.json",
        card=if_stored("results/corpora/{corpus}/card.json"),
    log:
        "results/corpora/{corpus}/logs/corpus.log",
    benchmark:
        "results/corpora/{corpus}/logs/corpus.tsv"
    conda:
        ENVIRONMENT
    threads: workflow.cores
    params:
        results=subpath(output.data_hash, ancestor=3),
        spec=lambda wildcards: as_argument(PLAN.corpora[wildcards.corpus], wildcards.corpus),
        code=corpus_code,
    shell:
        in_results(
            "scalelab corpus --spec {params.spec:q}"
            " --out results/corpora/{wildcards.corpus} --log {log:q}"
        )


rule evaluation_set:
    input:
        data_hash="results/corpora/{corpus}/data_hash",
        files=files_of_corpus("results/corpora/{corpus}"),
        sums=sums_of_corpus("results/corpora/{corpus}"),
    output:
        manifest="results/corpora/{corpus}/sets/{set}/manifest.json",
        tokens="results/corpora/{corpus}/sets/{set}/tokens.bin",
        documents="results/corpora/{corpus}/sets/{set}/docs.json",
    log:
        "results/corpora/{corpus}/logs/set-{set}.log",
    benchmark:
        "results/corpora/{corpus}/logs/set-{set}.tsv"
    conda:
        ENVIRONMENT
    threads: workflow.cores
    params:
        corpus=subpath(input.data_hash, parent=True),
        out=subpath(output.manifest, parent=True),
        spec=lambda wildcards: as_argument(PLAN.sets[wildcards.set], wildcards.set),
        code=set_code,
    shell:
        verified(
            "scalelab corpus --spec {params.spec:q} --beside {params.corpus:q}"
            " --out {params.out:q} --log {log:q}"
        )
