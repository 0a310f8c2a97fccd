rule plan:
    output:
        plan=f"{STUDY}/plan.json",
    log:
        f"{STUDY}/logs/plan.log",
    params:
        plan=PLAN_DIGEST,
        overrides=OVERRIDES,
    conda:
        ENVIRONMENT
    shell:
        "{PYTHON:q} -m scalelab plan {STUDY_FILE:q} --set {params.overrides:q}"
        " --json {output.plan:q} > {log:q} 2>&1"
