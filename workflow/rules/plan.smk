rule plan:
    output:
        plan=f"{STUDY}/plan.json",
    log:
        f"{STUDY}/logs/plan.log",
    conda:
        ENVIRONMENT
    params:
        plan=PLAN_DIGEST,
    shell:
        "{PYTHON:q} -m scalelab plan {STUDY_FILE:q} --set {OVERRIDES:q}"
        " --json {output.plan:q} > {log:q} 2>&1"
