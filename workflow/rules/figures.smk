from scalelab.figures import KINDS


rule figures:
    input:
        runs=f"{STUDY}/runs.csv",
        laws=f"{STUDY}/laws.json",
        metrics=of_all_runs("metrics.jsonl"),
    output:
        pdf=expand(STUDY + "/figures/{kind}.pdf", kind=KINDS),
        svg=[
            report(
                f"{STUDY}/figures/{kind}.svg",
                caption=f"../report/{kind}.rst",
                category="Figures",
            )
            for kind in KINDS
        ],
        png=expand(STUDY + "/figures/{kind}.png", kind=KINDS),
        csv=expand(STUDY + "/figures/{kind}.csv", kind=KINDS),
    log:
        f"{STUDY}/logs/figures.log",
    benchmark:
        f"{STUDY}/logs/figures.tsv"
    conda:
        ENVIRONMENT
    params:
        width=PLAN.study.figures.width,
        code=code_digest(*CODE["figures"]),
    shell:
        "{PYTHON:q} -m scalelab figures --runs {input.runs:q} --laws {input.laws:q}"
        " --runs-root results/runs --width {params.width} --out {STUDY:q}/figures"
        " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
