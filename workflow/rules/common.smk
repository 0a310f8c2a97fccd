# Reads the study once and names its files; every number is decided by `scalelab.plan`.
import json
import os
import sys
from pathlib import Path
from shlex import quote

from filelock import FileLock, Timeout

from scalelab import config as study_file
from scalelab.errors import UserError, of_system
from scalelab.files import canonical, canonical_json, digest, write_text
from scalelab.live.announce import FILE as LIVE_FILE
from scalelab.live.announce import announce
from scalelab.plan.command import as_json
from scalelab.plan.data import source_names
from scalelab.plan.demand import Cluster
from scalelab.plan.identity import result_of
from scalelab.plan.measures import processes_of
from scalelab.plan.runs import build
from scalelab.plan.teachers import teacher_id
from scalelab.plan.trunks import previous
from scalelab.provenance import stage_digest
from scalelab.training.progress import LIVE, MANAGER, manager_identity

DEFAULT_STUDY = Path(workflow.basedir) / "config" / "quickstart.yaml"
ENVIRONMENT = "../../environment.yml"

# In shell commands `scalelab` is this package, run by the interpreter that runs Snakemake: not what
# PATH holds. As a prefix it is no parameter, so that another interpreter reruns nothing.
INTERPRETER = quote(sys.executable).replace("{", "{{").replace("}", "}}")
# A signal to all processes of a job must not end the shell before what it waits for: Snakemake would
# take the job as over, and a scheduler then kills what still saves its state.
shell.prefix(
    f'set -euo pipefail; trap : TERM; scalelab() {{{{ {INTERPRETER} -m scalelab "$@"; }}}}; '
)

# Jobs on this host end themselves when the workflow that started them is gone.
os.environ[MANAGER] = manager_identity()


def refuse(why):
    """Exit code 2 with one sentence."""
    print(f"scalelab: {why}", file=sys.stderr, flush=True)
    os._exit(2)


def read_plan():
    """The plan of the one study given, or exit code 2 with one sentence."""
    try:
        read_cluster()
        files = list(workflow.config_settings.configfiles) or [DEFAULT_STUDY]
        if len(files) > 1:
            raise UserError(f"expected one study file, found {len(files)}")
        study = study_file.load(files[0], workflow.config_settings.config)
        return files[0], build(study)
    except UserError as error:
        refuse(error)


def read_cluster():
    """What --resources say of the machines; a job is told by the workflow that started it."""
    global CLUSTER
    if workflow.is_main_process:
        given = workflow.resource_settings.resources
        CLUSTER = Cluster.of({name: given[name].value for name in given})
        CLUSTER.tell()
    else:
        CLUSTER = Cluster.of_environment()


STUDY_FILE, PLAN = read_plan()
OVERRIDES = canonical_json(dict(workflow.config_settings.config))
STUDY = f"results/{PLAN.study.study}"
os.environ[LIVE] = str(Path(STUDY, LIVE_FILE).resolve())  # progress lines count its runs
CORPORA = "results/corpora"
RUN = "results/runs/{run}"
RUNS = {run.id: run for run in PLAN.runs}
# By FLOPs, so that no large run is left for the end. Looked up for each job, so it is no list.
RANK = {run.id: len(PLAN.runs) - place for place, run in enumerate(PLAN.runs)}
EVALUATION = f"eval/{PLAN.evaluation_id}.json"
FITS, ANSWERS = canonical(list(PLAN.fits)), canonical(list(PLAN.answers))
FIGURES = PLAN.figures
ADAPTIVE = PLAN.study.adaptive is not None
# Nothing is asked of the runs of a study without laws, answers and axes: a table is all it has.
RESULTS = bool(FITS or ANSWERS or PLAN.study.axes)
# The plan without what may differ between two machines or two days, for rerun decisions.
PLAN_JSON = as_json(PLAN)
PLAN_DIGEST = digest({key: PLAN_JSON[key] for key in PLAN_JSON if key != "provenance"})


TRUNKS = {trunk.id: trunk for trunk in PLAN.trunks}
TRUNK_OF_RUN = {run: trunk for trunk in PLAN.trunks for run in trunk.branches}


wildcard_constraints:
    run="[0-9a-f]{12}",
    corpus="[0-9a-f]{12}",
    set="[0-9a-f]{12}",
    trunk="[0-9a-f]{12}",
    steps="[0-9]+",
    measure="[a-z_]+-[0-9a-f]{12}",
    number="[0-9]+",


def spec(wildcards):
    return canonical_json(result_of(RUNS[wildcards.run].spec))


def train_code(wildcards):
    return stage_digest("train", family=RUNS[wildcards.run].spec["model"]["family"])


def evaluate_code(wildcards):
    return stage_digest("evaluate", family=RUNS[wildcards.run].spec["model"]["family"])


def measure_code(wildcards):
    return stage_digest("measure", measure=PLAN.measures[wildcards.measure]["measure"])


def samples_code():
    families = sorted({run.spec["model"]["family"] for run in PLAN.runs})
    return [stage_digest("samples", family=family) for family in families]


def data_of_run(wildcards):
    return f"{CORPORA}/{RUNS[wildcards.run].spec['corpus']}/data_hash"


def data_of_trunk(wildcards):
    return f"{CORPORA}/{TRUNKS[wildcards.trunk].spec['corpus']}/data_hash"


def corpus_code(wildcards):
    names = source_names(PLAN.corpora[wildcards.corpus]["config"])
    return [stage_digest("corpus", source=name) for name in names]


def set_code(wildcards):
    return stage_digest("set", source=PLAN.sets[wildcards.set]["config"]["source"])


def sets_of_run(wildcards):
    """Manifests of the evaluation sets, beside the corpus of the run."""
    folder = f"{CORPORA}/{RUNS[wildcards.run].spec['corpus']}/sets"
    return [f"{folder}/{identity}/manifest.json" for identity in PLAN.sets]


def run_processes(wildcards, output):
    return processes_option(RUNS[wildcards.run].spec)


def processes_option(spec):
    """How a run is trained, not what: a function of the output, so no reason to train anew."""
    return f"--processes {spec['processes']}" + (" --sharding" if spec["sharding"] else "")


def measure_processes(wildcards, output):
    """How it is measured, not what, as for training."""
    return measure_threads(wildcards)


def trunk_of_run(wildcards):
    trunk = TRUNK_OF_RUN.get(wildcards.run)
    return state_of(trunk, trunk.branches[wildcards.run]) if trunk else []


def teacher_of_run(wildcards):
    """The checkpoint that a run is distilled from, with its record."""
    teacher = teacher_id(RUNS[wildcards.run].spec)
    names = ["run.json", *(CHECKPOINT if STORED else ["checkpoint"])] if teacher else []
    return [f"results/runs/{teacher}/{name}" for name in names]


def teacher_option(wildcards):
    teacher = teacher_id(RUNS[wildcards.run].spec)
    return as_option("--teacher", f"results/runs/{teacher}" if teacher else "")


def init_option(wildcards, output):
    """Where the checkpoint is that a run starts from: what it is stands in the specification."""
    return as_option("--init", RUNS[wildcards.run].init)


def trunk_init(wildcards, output):
    runs = TRUNKS[wildcards.trunk].branches
    return as_option("--init", RUNS[next(iter(runs))].init)


def trunk_before(wildcards):
    trunk = TRUNKS[wildcards.trunk]
    steps = previous(trunk, int(wildcards.steps))
    return state_of(trunk, steps) if steps else []


def state_of(trunk, steps):
    # Ancient: its identity is in it, so a state that is made anew is no reason to train anew.
    return ancient(f"results/trunks/{trunk.id}/{steps}.state")


def trunk_spec(wildcards):
    return canonical_json(result_of(TRUNKS[wildcards.trunk].spec))


def trunk_processes(wildcards, output):
    return processes_option(TRUNKS[wildcards.trunk].spec)


def trunk_code(wildcards):
    return stage_digest("trunk", family=TRUNKS[wildcards.trunk].spec["model"]["family"])


def as_argument(spec, name):
    """A specification as an argument; one of many files is longer than the system allows."""
    text = canonical_json(spec)
    if len(text) < 100_000:
        return text
    path = Path(CORPORA, f".{name}.spec.json")
    write_text(path, f"{text}\n")
    return f"@{path}"


def as_option(name, path):
    return f"{name} {quote(str(path))}" if path else ""


def costliest_first(wildcards):
    return RANK[wildcards.run]


def after_training(wildcards):
    return costliest_first(wildcards) / (len(RUNS) + 1)


def decision(path):
    """What a round decided; from object storage too, of which Snakemake keeps no copy."""
    with path.open(encoding="utf-8") as text:
        return json.load(text)


def round_file(number):
    return f"{STUDY}/rounds/{number}.json"


def last_round(wildcards):
    """The round that stopped an adaptive study; Snakemake comes back here after each one."""
    number = 0
    while True:
        path = checkpoints.round.get(number=number).output.decision
        if decision(path)["stop"] is not None:
            return path
        number += 1


def runs_before(wildcards):
    """What a round decides by: the round before it, and the results of all runs so far."""
    number = int(wildcards.number)
    if number == 0:
        return []
    before = checkpoints.round.get(number=number - 1).output.decision
    runs = decision(before)["runs"]
    names = ("run.json", EVALUATION)
    return [before, *(f"results/runs/{run}/{name}" for run in runs for name in names)]


def of_all_runs(*names):
    """Those files of each run of the study; of an adaptive one, of those that its rounds chose."""

    def files(runs):
        return [f"results/runs/{run}/{name}" for name in names for run in runs]

    if not ADAPTIVE:
        return files(RUNS)
    return lambda wildcards: files(decision(last_round(wildcards))["runs"])


def hold_folder():
    """One workflow at a time in a folder. The system frees the lock when the process dies."""
    global FOLDER_LOCK
    try:
        Path("results").mkdir(exist_ok=True)
        FOLDER_LOCK = FileLock("results/.workflow.lock")
        FOLDER_LOCK.acquire(timeout=0)
    except Timeout:
        refuse("another snakemake is at work in this folder; wait for it or end it")
    except OSError as error:
        refuse(of_system(error, "results") or f"results: cannot be written ({error})")


def tell_others():
    """What `scalelab status` and `scalelab watch` read: the runs of this workflow, and who it is."""
    # The jobs that Snakemake decided to run are in no public place; without them, runs that are
    # trained anew count as done until then.
    dag = getattr(workflow, "dag", None)
    jobs = dag.needrun_jobs() if dag is not None else ()
    again = {
        job.wildcards.run
        for job in jobs
        if job.rule.name == "train" and Path(f"results/runs/{job.wildcards.run}/run.json").exists()
    }
    # On a cluster `cores` are those of one job.
    announce(Path(STUDY), PLAN_JSON, workflow.cores * (workflow.nodes or 1), ADAPTIVE, again)


def say_where():
    for line in PLAN.notes:
        print(f"scalelab: {line}", file=sys.stderr)
    shown = "report.html" if RESULTS else "runs.csv"
    print(f"scalelab: done, see {STUDY}/{shown}", file=sys.stderr)
