rule evaluate:
    input:
        data_hash=data_of_run,
        run=f"{RUN}/run.json",
        checkpoint=f"{RUN}/checkpoint",
        sets=sets_of_run,
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
        settings=canonical_json(PLAN.evaluation),
        code=evaluate_code,
    shell:
        "scalelab evaluate --run results/runs/{wildcards.run} --corpus {params.corpus:q}"
        " --settings {params.settings:q} --out {output.result:q} --threads {threads}"
        " --log {log:q}"


rule measure:
    input:
        data_hash=data_of_run,
        run=f"{RUN}/run.json",
        checkpoint=f"{RUN}/checkpoint",
    output:
        result=f"{RUN}/measures/{{measure}}.json",
    log:
        f"{RUN}/logs/measure-{{measure}}.log",
    benchmark:
        f"{RUN}/logs/measure-{{measure}}.tsv"
    priority: after_training
    conda:
        ENVIRONMENT
    threads: 1
    params:
        corpus=subpath(input.data_hash, parent=True),
        settings=lambda wildcards: canonical_json(PLAN.measures[wildcards.measure]),
        code=measure_code,
    shell:
        "scalelab measure --run results/runs/{wildcards.run} --corpus {params.corpus:q}"
        " --settings {params.settings:q} --out {output.result:q} --threads {threads}"
        " --log {log:q}"


rule collect:
    input:
        plan=f"{STUDY}/plan.json",
        runs=of_all_runs("run.json"),
        evaluations=of_all_runs(EVALUATION),
        measures=[of_all_runs(f"measures/{measure}.json") for measure in PLAN.measures],
    output:
        runs=f"{STUDY}/runs.csv",
        checkpoints=directory(f"{STUDY}/checkpoints"),
    log:
        f"{STUDY}/logs/collect.log",
    conda:
        ENVIRONMENT
    params:
        code=stage_digest("collect"),
    shell:
        "scalelab collect --plan {input.plan:q} --runs-root results/runs"
        " --out {output.runs:q} --checkpoints {output.checkpoints:q} > {log:q} 2>&1"
        " || (cat {log:q} >&2; exit 1)"


rule samples:
    input:
        runs=f"{STUDY}/runs.csv",
        corpora=[f"{CORPORA}/{corpus}/data_hash" for corpus in PLAN.corpora],
    output:
        result=f"{STUDY}/samples.json",
    log:
        f"{STUDY}/logs/samples.log",
    conda:
        ENVIRONMENT
    params:
        corpora=lambda wildcards, input: os.path.dirname(os.path.dirname(input.corpora[0])),
        code=samples_code(),
    shell:
        "scalelab samples --runs {input.runs:q} --runs-root results/runs"
        " --corpora {params.corpora:q} --out {output.result:q} --threads {threads}"
        " --log {log:q}"
