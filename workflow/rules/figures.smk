rule figures:
    input:
        runs=f"{STUDY}/runs.csv",
        laws=f"{STUDY}/laws.json",
        metrics=of_all_runs("metrics.jsonl"),
        sums=sums_of_runs(),
    output:
        pdf=[f"{STUDY}/figures/{kind}.pdf" for kind in FIGURES],
        svg=[
            report(
                f"{STUDY}/figures/{kind}.svg",
                caption=f"../report/{kind}.rst",
                category="Figures",
            )
            for kind in FIGURES
        ],
        png=[f"{STUDY}/figures/{kind}.png" for kind in FIGURES],
        csv=[f"{STUDY}/figures/{kind}.csv" for kind in FIGURES],
    log:
        f"{STUDY}/logs/figures.log",
    benchmark:
        f"{STUDY}/logs/figures.tsv"
    conda:
        ENVIRONMENT
    params:
        results=subpath(output[0], ancestor=3),
        folder=subpath(output[0], parent=True),
        only=" ".join(f"--only {kind}" for kind in FIGURES),
        width=PLAN.study.figures.width,
        style=PLAN.study.figures.style,
        code=stage_digest("figures"),
    shell:
        verified(
            "scalelab figures --runs {input.runs:q} --laws {input.laws:q}"
            " --runs-root results/runs --width {params.width} --style {params.style} {params.only} --or-reason"
            " --out {params.folder:q}"
            " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
        )
