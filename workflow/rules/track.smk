rule track:
    input:
        plan=f"{STUDY}/plan.json",
        runs=of_all_runs("run.json"),
        metrics=of_all_runs("metrics.jsonl"),
        evaluations=of_all_runs(EVALUATION),
        sums=sums_of_runs(),
    output:
        result=f"{STUDY}/tracking.json",
    log:
        f"{STUDY}/logs/track.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.result, ancestor=2),
        folder=subpath(output.result, parent=True),
        tracker=PLAN.study.tracking.kind,
        # In params, so that WANDB_MODE=online uploads a study that is already there.
        mode=os.environ.get("WANDB_MODE") or PLAN.study.tracking.wandb,
        project=lambda wildcards: PLAN.study.tracking.project,  # may hold braces
        code=stage_digest("track"),
    shell:
        verified(
            "scalelab track --plan {input.plan:q} --runs-root results/runs --tracker {params.tracker}"
            " --mode {params.mode:q} --project {params.project:q} --folder {params.folder:q}"
            " --out {output.result:q} --log {log:q}"
        )


rule track_fit:
    input:
        plan=f"{STUDY}/plan.json",
        # Its runs are there before it.
        runs=rules.track.output.result,
        laws=rules.fit.output.laws,
        table=if_stored(f"{STUDY}/runs.csv"),
        figures=rules.figures.output,
        tables=rules.tables.output,
    output:
        result=f"{STUDY}/tracking_fit.json",
    log:
        f"{STUDY}/logs/track_fit.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.result, ancestor=2),
        folder=subpath(output.result, parent=True),
        tracker=PLAN.study.tracking.kind,
        mode=os.environ.get("WANDB_MODE") or PLAN.study.tracking.wandb,
        project=lambda wildcards: PLAN.study.tracking.project,  # may hold braces
        code=stage_digest("track"),
    shell:
        in_results(
            "scalelab track --fit --plan {input.plan:q} --runs-root results/runs"
            " --tracker {params.tracker} --mode {params.mode:q} --project {params.project:q}"
            " --folder {params.folder:q} --out {output.result:q} --log {log:q}"
        )
