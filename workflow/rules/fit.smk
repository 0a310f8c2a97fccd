rule fit:
    input:
        runs=f"{STUDY}/runs.csv",
        # The envelope of the runs' curves.
        metrics=of_all_runs("metrics.jsonl") if ANSWERS else [],
        sums=sums_of_runs(),
    output:
        laws=f"{STUDY}/laws.json",
    log:
        f"{STUDY}/logs/fit.log",
    benchmark:
        f"{STUDY}/logs/fit.tsv"
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.laws, ancestor=2),
        fits=canonical_json(FITS),
        answers=canonical_json(ANSWERS),
        study=PLAN.study.study,
        code=stage_digest("fit"),
    shell:
        verified(
            "scalelab fit {input.runs:q} --fits {params.fits:q} --answers {params.answers:q}"
            " --runs-root results/runs --study {params.study}"
            " --json {output.laws:q} > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
        )
