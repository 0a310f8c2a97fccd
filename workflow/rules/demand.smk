# What jobs ask of a scheduler. Resources are no parameters: another estimate reruns nothing.
from scalelab.plan.estimate import held_out_tokens


def run_spec(wildcards):
    """Of the run, or of the trunk, of a job."""
    return RUNS[wildcards.run].spec if "run" in wildcards.keys() else TRUNKS[wildcards.trunk].spec


def own_steps(wildcards):
    """Steps that the job of a run, or of a stretch of a trunk, trains itself."""
    if "run" not in wildcards.keys():
        steps = int(wildcards.steps)
        return steps - previous(TRUNKS[wildcards.trunk], steps)
    trunk = TRUNK_OF_RUN.get(wildcards.run)
    shared = trunk.branches[wildcards.run] if trunk else 0
    return run_spec(wildcards)["training"]["steps"] - shared


def run_threads(wildcards):
    return CLUSTER.threads(run_spec(wildcards))


def run_megabytes(wildcards, attempt):
    return CLUSTER.training_megabytes(run_spec(wildcards), attempt)


def run_minutes(wildcards, attempt):
    return CLUSTER.training_minutes(run_spec(wildcards), own_steps(wildcards), attempt)


def run_gpus(wildcards):
    return CLUSTER.gpus(run_spec(wildcards))


def run_group(wildcards):
    """On a cluster small runs share a job, each with its evaluation."""
    if workflow.nodes is None:
        return None
    if not workflow.is_main_process:
        # Snakemake does not tell its jobs how many parts a group has: they would take one for each
        # run and start them one after the other.
        workflow.group_settings.group_components = {"small": len(RUNS)}
    return "small" if CLUSTER.is_small(run_spec(wildcards), own_steps(wildcards)) else None


def of_several_nodes(value):
    """A resource of runs on several nodes, which others do not have."""

    def resource(wildcards):
        nodes = CLUSTER.nodes(run_spec(wildcards))
        return None if nodes == 1 else nodes if value is None else value

    return resource


def run_machine(wildcards, resources):
    """Options that other machines change: as a function of resources they rerun nothing."""
    nodes, gpus = CLUSTER.nodes(run_spec(wildcards)), resources.get("gpu")
    return f"--nodes {nodes}" if nodes > 1 else f"--gpus {gpus}" if gpus else ""


def measure_threads(wildcards):
    """One for each of its processes, so that their number rounds nothing otherwise."""
    measure = PLAN.measures[wildcards.measure]["measure"]
    return processes_of(PLAN.study, measure, RUNS[wildcards.run].counts.n)


def evaluate_megabytes(wildcards, attempt):
    return CLUSTER.evaluation_megabytes(run_spec(wildcards), attempt)


def evaluate_minutes(wildcards, attempt):
    return CLUSTER.evaluation_minutes(run_spec(wildcards), held_out_tokens(PLAN), attempt)
