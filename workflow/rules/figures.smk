from scalelab.figures import KINDS


rule figures:
    input:
        runs=f"{STUDY}/runs.csv",
        laws=f"{STUDY}/laws.json",
        metrics=of_all_runs("metrics.jsonl"),
    output:
        pdf=[f"{STUDY}/figures/{kind}.pdf" for kind in KINDS],
        svg=[
            report(
                f"{STUDY}/figures/{kind}.svg",
                caption=f"../report/{kind}.rst",
                category="Figures",
            )
            for kind in KINDS
        ],
        png=[f"{STUDY}/figures/{kind}.png" for kind in KINDS],
        csv=[f"{STUDY}/figures/{kind}.csv" for kind in KINDS],
    log:
        f"{STUDY}/logs/figures.log",
    benchmark:
        f"{STUDY}/logs/figures.tsv"
    conda:
        ENVIRONMENT
    params:
        folder=subpath(output[0], parent=True),
        width=PLAN.study.figures.width,
        code=stage_digest("figures"),
    shell:
        "scalelab figures --runs {input.runs:q} --laws {input.laws:q}"
        " --runs-root results/runs --width {params.width} --out {params.folder:q}"
        " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
