rule evaluate:
    input:
        data_hash=data_of_run,
        run=f"{RUN}/run.json",
        checkpoint=checkpoint_of_run(),
        sets=sets_of_run,
        files=of_corpus_of_run(files_of_corpus),
        sums=sums_for_evaluation,
        tokens=files_of_sets,
    output:
        result=f"{RUN}/{EVALUATION}",
    log:
        f"{RUN}/logs/evaluate.log",
    benchmark:
        f"{RUN}/logs/evaluate.tsv"
    # After all training: a job of one thread between them would keep the large runs from both cores.
    priority: after_training
    group:
        run_group
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=evaluate_megabytes,
        runtime=evaluate_minutes,
    params:
        corpus=subpath(input.data_hash, parent=True),
        results=subpath(output.result, ancestor=4),
        settings=canonical_json(PLAN.evaluation),
        code=evaluate_code,
    shell:
        verified(
            "scalelab evaluate --run results/runs/{wildcards.run} --corpus {params.corpus:q}"
            " --settings {params.settings:q} --out {output.result:q} --threads {threads}"
            " --log {log:q}"
        )


rule measure:
    input:
        data_hash=data_of_run,
        run=f"{RUN}/run.json",
        checkpoint=checkpoint_of_run(),
        files=of_corpus_of_run(files_of_corpus),
        sums=sums_for_evaluation,
    output:
        result=f"{RUN}/measures/{{measure}}.json",
    log:
        f"{RUN}/logs/measure-{{measure}}.log",
    benchmark:
        f"{RUN}/logs/measure-{{measure}}.tsv"
    priority: after_training
    conda:
        ENVIRONMENT
    threads: measure_threads
    params:
        corpus=subpath(input.data_hash, parent=True),
        results=subpath(output.result, ancestor=4),
        settings=lambda wildcards: canonical_json(PLAN.measures[wildcards.measure]),
        processes=measure_processes,
        code=measure_code,
    shell:
        verified(
            "scalelab measure --run results/runs/{wildcards.run} --corpus {params.corpus:q}"
            " --settings {params.settings:q} --out {output.result:q} --threads {threads}"
            " --processes {params.processes} --log {log:q}"
        )


rule collect:
    input:
        plan=f"{STUDY}/plan.json",
        runs=of_all_runs("run.json"),
        evaluations=of_all_runs(EVALUATION),
        measures=of_all_runs(*(f"measures/{measure}.json" for measure in PLAN.measures)),
        sums=sums_of_runs(),
    output:
        runs=f"{STUDY}/runs.csv",
        checkpoints=[] if STORED else directory(f"{STUDY}/checkpoints"),
    log:
        f"{STUDY}/logs/collect.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.runs, ancestor=2),
        code=stage_digest("collect"),
    shell:
        verified(
            "scalelab collect --plan {input.plan:q} --runs-root results/runs"
            " --out {output.runs:q} --checkpoints {output.checkpoints:q} > {log:q} 2>&1"
            " || (cat {log:q} >&2; exit 1)"
        )


rule samples:
    input:
        runs=f"{STUDY}/runs.csv",
        corpora=[f"{CORPORA}/{corpus}/data_hash" for corpus in PLAN.corpora],
        files=[files_of_corpus(f"{CORPORA}/{corpus}") for corpus in PLAN.corpora],
        checkpoints=checkpoints_of_all_runs() if STORED else [],
        run=of_all_runs("run.json") if STORED else [],
        sums=sums_of_runs(),
        manifests=[sums_of_corpus(f"{CORPORA}/{corpus}") for corpus in PLAN.corpora],
    output:
        result=f"{STUDY}/samples.json",
    log:
        f"{STUDY}/logs/samples.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.result, ancestor=2),
        corpora=lambda wildcards, input: os.path.dirname(os.path.dirname(input.corpora[0])),
        code=samples_code(),
    shell:
        verified(
            "scalelab samples --runs {input.runs:q} --runs-root results/runs"
            " --corpora {params.corpora:q} --out {output.result:q} --threads {threads}"
            " --log {log:q}"
        )
