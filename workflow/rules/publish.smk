rule tables:
    input:
        runs=f"{STUDY}/runs.csv",
        laws=f"{STUDY}/laws.json",
    output:
        runs_csv=f"{STUDY}/tables/runs.csv",
        runs_tex=f"{STUDY}/tables/runs.tex",
        law_csv=f"{STUDY}/tables/law.csv",
        law_tex=f"{STUDY}/tables/law.tex",
        cost_csv=f"{STUDY}/tables/cost.csv",
        cost_tex=f"{STUDY}/tables/cost.tex",
        answers_csv=f"{STUDY}/tables/answers.csv",
        answers_tex=f"{STUDY}/tables/answers.tex",
        numbers=f"{STUDY}/tables/numbers.tex",
    log:
        f"{STUDY}/logs/tables.log",
    conda:
        ENVIRONMENT
    params:
        folder=subpath(output.numbers, parent=True),
        code=stage_digest("report"),
    shell:
        "scalelab tables --runs {input.runs:q} --laws {input.laws:q}"
        " --out {params.folder:q} > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"


rule report:
    input:
        runs=f"{STUDY}/runs.csv",
        laws=f"{STUDY}/laws.json",
        plan=f"{STUDY}/plan.json",
        manifest=f"{CORPORA}/{PLAN.corpus_id}/manifest.json",
        figures=[f"{STUDY}/figures/{kind}.svg" for kind in FIGURES],
        tables=f"{STUDY}/tables/numbers.tex",
        samples=f"{STUDY}/samples.json",
        tracking=f"{STUDY}/tracking.json",
        metrics=of_all_runs("metrics.jsonl"),
        sums=sums_of_runs(),
    output:
        html=report(f"{STUDY}/report.html", caption="../report/report.rst", category="Report"),
    log:
        f"{STUDY}/logs/report.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output.html, ancestor=2),
        figures=lambda wildcards, input: os.path.dirname(input.figures[0]),
        code=stage_digest("report"),
    shell:
        verified(
            "scalelab report --runs {input.runs:q} --laws {input.laws:q}"
            " --figures {params.figures:q} --manifest {input.manifest:q} --plan {input.plan:q}"
            " --samples {input.samples:q} --tracking {input.tracking:q} --runs-root results/runs"
            " --out {output.html:q} > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
        )
