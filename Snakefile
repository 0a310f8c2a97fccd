# scalelab: from text to a scaling law. `snakemake --cores all [--configfile config/STUDY.yaml]`
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/publish.smk"


rule all:
    default_target: True
    input:
        f"{STUDY}/runs.csv",
        f"{STUDY}/tracking.json",
        f"{STUDY}/report.html" if FITS else [],


onstart:
    hold_folder()


onsuccess:
    say_where()
