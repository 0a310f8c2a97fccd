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
        folder=subpath(output.result, parent=True),
        mode=PLAN.study.tracking.wandb,
        project=PLAN.study.tracking.project,
        code=code_digest(*CODE["track"]),
    shell:
        "scalelab track --plan {input.plan:q} --runs-root results/runs"
        " --mode {params.mode} --project {params.project:q} --folder {params.folder:q}/wandb"
        " --out {output.result:q} --log {log:q}"
