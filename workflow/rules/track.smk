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
        # In params, so that WANDB_MODE=online uploads a study that is already there.
        mode=os.environ.get("WANDB_MODE") or PLAN.study.tracking.wandb,
        project=PLAN.study.tracking.project,
        code=stage_digest("track"),
    shell:
        "scalelab track --plan {input.plan:q} --runs-root results/runs"
        " --mode {params.mode:q} --project {params.project:q} --folder {params.folder:q}"
        " --out {output.result:q} --log {log:q}"
