# What is different with a storage provider (`--default-storage-provider s3`): results lie in object
# storage, a job sees local copies of its inputs and nothing else, and copies are compared with sums.
# Without one each of these gives what was there before, so that results on a disk stay as they are.
STORED = workflow.storage_settings.default_storage_provider is not None


def if_stored(*items):
    """What only a study in object storage names: every file that a job opens must be its input."""
    return list(items) if STORED else []


def in_results(command):
    """A command whose folders are those of the local copies (`params.results`), without links,
    which object storage does not have."""
    if not STORED:
        return command
    command = command.replace(" --checkpoints {output.checkpoints:q}", "")
    return command.replace(" results/", " {params.results:q}/")


def verified(command, then=""):
    """The same, after a comparison of the inputs with their sums."""
    if not STORED:
        return command
    return f"scalelab verify {{input.sums:q}}; {in_results(command)}{then}"


# The plugin takes a folder that a job on another machine made for missing, so its files are named.
CHECKPOINT = [
    f"checkpoint/{name}"
    for name in (
        *("model.safetensors", "config.json", "scalelab.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    )
]


def checkpoint_of_run():
    return [f"{RUN}/{name}" for name in CHECKPOINT] if STORED else f"{RUN}/checkpoint"


def checkpoints_of_all_runs():
    return of_all_runs(*(CHECKPOINT if STORED else ["checkpoint"]))


# Of a trained run. Sent last, so where they are the rest is.
SUMS = f"{RUN}/sums.json"
WRITE_SUMS = (
    " && scalelab verify --write {output.sums:q}"
    " {output.checkpoint:q} {output.metrics:q} {output.run:q}"
)


def sums_of_runs():
    return of_all_runs("sums.json") if STORED else []


def files_of_corpus(folder):
    """Made by one job with data_hash, which alone decides what is run anew."""
    names = ("tokenizer.json", "train.bin", "tuning.bin", "test.bin")
    names += ("tuning.docs.json", "test.docs.json")
    return if_stored(*(ancient(f"{folder}/{name}") for name in names))


def sums_of_corpus(folder):
    return if_stored(ancient(f"{folder}/manifest.json"))


def of_corpus_of_run(files):
    return lambda wildcards: files(f"{CORPORA}/{RUNS[wildcards.run].spec['corpus']}")


def of_corpus_of_trunk(files):
    return lambda wildcards: files(f"{CORPORA}/{TRUNKS[wildcards.trunk].spec['corpus']}")


def sums_for_evaluation(wildcards):
    of_run = SUMS.format(run=wildcards.run)
    return if_stored(*of_corpus_of_run(sums_of_corpus)(wildcards), of_run, *sets_of_run(wildcards))


def files_of_sets(wildcards):
    folder = f"{CORPORA}/{RUNS[wildcards.run].spec['corpus']}/sets"
    names = ("tokens.bin", "docs.json")
    return if_stored(*(ancient(f"{folder}/{one}/{name}") for one in PLAN.sets for name in names))
