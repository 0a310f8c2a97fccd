rule fit:
    input:
        runs=f"{STUDY}/runs.csv",
    output:
        laws=f"{STUDY}/laws.json",
    log:
        f"{STUDY}/logs/fit.log",
    benchmark:
        f"{STUDY}/logs/fit.tsv"
    conda:
        ENVIRONMENT
    params:
        fits=canonical_json(FITS),
        study=PLAN.study.study,
        code=stage_digest("fit"),
    shell:
        "scalelab fit {input.runs:q} --fits {params.fits:q} --study {params.study}"
        " --json {output.laws:q} > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
