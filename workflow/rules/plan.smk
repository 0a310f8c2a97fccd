rule plan:
    input:
        # Of an adaptive study the plan holds the runs that its rounds chose.
        rounds=last_round if ADAPTIVE else [],
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
        only=lambda wildcards, input: as_option("--only", input.rounds),
        study=lambda wildcards, output: STUDY_FILE,
        overrides=lambda wildcards, output: OVERRIDES,
    shell:
        "scalelab plan {params.study:q} --set {params.overrides:q}"
        " {params.only} --json {output.plan:q} > {log:q} 2>&1"
        " || (cat {log:q} >&2; exit 1)"


checkpoint round:
    input:
        before=runs_before,
    output:
        decision=f"{STUDY}/rounds/{{number}}.json",
    log:
        f"{STUDY}/logs/round-{{number}}.log",
    priority: len(RUNS) + 2
    conda:
        ENVIRONMENT
    params:
        plan=PLAN_DIGEST,
        code=stage_digest("round"),
        results=subpath(output.decision, ancestor=3),
        before=lambda wildcards, input: as_option("--before", input.before and input.before[0]),
        study=lambda wildcards, output: STUDY_FILE,
        overrides=lambda wildcards, output: OVERRIDES,
    shell:
        in_results(
            "scalelab round {params.study:q} --set {params.overrides:q} --runs-root results/runs"
            " {params.before} --out {output.decision:q} > {log:q} 2>&1"
            " || (cat {log:q} >&2; exit 1)"
        )
