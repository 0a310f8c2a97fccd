rule plan:
    output:
        plan=f"{STUDY}/plan.json",
    log:
        f"{STUDY}/logs/plan.log",
    # Before all else: what is pruned as unused is what no plan names.
    priority: len(RUNS) + 2
    conda:
        ENVIRONMENT
    params:
        plan=PLAN_DIGEST,
        # Functions of the output are no reason to rerun: what they decide is in the digest.
        study=lambda wildcards, output: STUDY_FILE,
        overrides=lambda wildcards, output: OVERRIDES,
    shell:
        "scalelab plan {params.study:q} --set {params.overrides:q}"
        " --json {output.plan:q} > {log:q} 2>&1"
        " || (cat {log:q} >&2; exit 1)"
