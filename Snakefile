# scalelab: from text to a scaling law. `snakemake --cores all [--configfile config/STUDY.yaml]`
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/storage.smk"
include: "workflow/rules/demand.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/track.smk"


# They take seconds: on a cluster they run where snakemake does, which may have the network that
# online trackers need.
localrules:
    plan,
    collect,
    figures,
    tables,
    report,
    track,
    track_fit,


rule all:
    default_target: True
    input:
        # Everything that is promised: Snakemake does not miss what no target asks for.
        checkpoints_of_all_runs(),
        of_all_runs("metrics.jsonl"),
        of_all_runs(EVALUATION),
        rules.collect.output,
        rules.track.output,
        [rules.fit.output, rules.figures.output, rules.tables.output] if RESULTS else [],
        rules.track_fit.output if RESULTS else [],
        rules.report.output if RESULTS else [],


onstart:
    hold_folder()
    tell_others()


onsuccess:
    say_where()
