rule track:
    input:
        plan=f"{STUDY}/plan.json",
        runs=of_all_runs("run.json"),
        metrics=of_all_runs("metrics.jsonl"),
        evaluations=of_all_runs(EVALUATION),
    output:
        result=f"{STUDY}/tracking.json",
    log:
        f"{STUDY}/logs/track.log",
    conda:
        ENVIRONMENT
    params:
        mode=PLAN.study.tracking.wandb,
        project=PLAN.study.tracking.project,
        code=code_digest(*CODE["track"]),
    shell:
        "{PYTHON:q} -m scalelab track --plan {input.plan:q} --runs-root results/runs"
        " --mode {params.mode} --project {params.project:q} --folder {STUDY:q}/wandb"
        " --out {output.result:q} --log {log:q}"
