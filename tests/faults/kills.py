"""Kills a workflow at many moments and runs the same command again.

    python tests/faults/kills.py FOLDER --kills 30 [--seed 1] [--boundaries] [--minutes 60]

The micro study runs to its end once. Then, in a fresh copy each time, its process group gets SIGKILL,
SIGTERM or SIGINT: at moments drawn over the time that the whole took, or when a stage has just left
its file. The same command is called again, at once, while jobs of the first one may still be at work.
What must hold then is in `faults`; each case becomes a line of FOLDER/kills.jsonl.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))
from workflow_project import Project  # noqa: E402

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
STAGES = {
    "the plan": ("results/micro/plan.json", 1),
    "the corpus": ("results/corpora/*/data_hash", 1),
    "a run in training": ("results/runs/.locks/*.lock", 1),
    "the first checkpoint": ("results/runs/*/run.json", 1),
    "the last checkpoint": ("results/runs/*/run.json", 5),
    **{f"evaluation {number}": ("results/runs/*/eval/*.json", number) for number in range(1, 6)},
    "runs.csv": ("results/micro/runs.csv", 1),
    "laws.json": ("results/micro/laws.json", 1),
    "the first figure": ("results/micro/figures/*", 1),
    "the tables": ("results/micro/tables/*", 1),
    "the report": ("results/micro/report.html", 1),
}
"""When a stage is over: that many files of that name are there."""
MARK = "KILLS_CASE"
"""An environment variable by which the processes of a case are known, wherever they are."""
OF_TIME = {"seconds", "tokens_per_second", "flops_per_second", "mfu", "peak_memory_bytes", "resumed"}
"""Columns that tell of the machine and of what happened."""


@dataclass(frozen=True)
class Case:
    """One kill: by what, and when."""

    signal: signal.Signals
    after_seconds: float | None = None
    after_stage: str | None = None

    def __str__(self) -> str:
        when = self.after_stage or f"{self.after_seconds:.1f} s"
        return f"{self.signal.name} at {when}"


@dataclass(frozen=True)
class Reference:
    """The study that nobody ended."""

    project: Project
    seconds: float


def make_reference(folder: Path) -> Reference:
    """Run the study to its end, or take what an earlier call has left."""
    project, took = Project(folder / "reference"), folder / "seconds"
    if not took.exists():
        shutil.rmtree(project.root, ignore_errors=True)
        project = Project.create(project.root)
        began = time.monotonic()
        project.complete()
        took.write_text(str(time.monotonic() - began))
    return Reference(project, float(took.read_text()))


def cases(kills: int, boundaries: bool, seconds: float, seed: int) -> Iterator[Case]:
    """Moments drawn over the whole time, the signals in turn, then each stage with one of them."""
    generator = random.Random(seed)
    for number in range(kills):
        yield Case(SIGNALS[number % 3], after_seconds=generator.uniform(0, seconds))
    for number, stage in enumerate(STAGES if boundaries else ()):
        yield Case(SIGNALS[(number + seed) % 3], after_stage=stage)


def marked(mark: str) -> list[str]:
    """The command lines of processes that were started in a case."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                words = (path / "cmdline").read_bytes().split(b"\0")
                found.append(f"{path.name}: {' '.join(os.fsdecode(word) for word in words)[:200]}")
        except OSError:
            continue
    return found


def until(condition: Callable[[], Any], seconds: float) -> bool:
    """Whether a condition came true within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def kill_and_rerun(reference: Reference, folder: Path, case: Case) -> dict[str, Any]:
    """What came of one case; its folder stays where something is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    project = Project.create(folder / "project")
    (folder / "tmp").mkdir()
    environment = {MARK: str(folder), "TMPDIR": str(folder / "tmp")}
    first = project.start(env=environment)
    try:
        if case.after_stage:
            pattern, wanted = STAGES[case.after_stage]
            until(
                lambda: len([*project.root.glob(pattern)]) >= wanted or first.poll() is not None,
                10 * reference.seconds + 60,
            )
        else:
            until(lambda: first.poll() is not None, case.after_seconds or 0.0)
        ended_before = first.poll() is not None
        if not ended_before:
            os.killpg(first.pid, case.signal)
        began = time.monotonic()
        first.wait()
        seconds_to_end = time.monotonic() - began
        alive = len(marked(str(folder)))
        again = project.snakemake(env=environment)
        wrong = faults(reference, project, folder, again.returncode, again.stdout)
    finally:
        project.end(first)
    if not wrong:
        shutil.rmtree(folder)
    return {
        "case": str(case),
        "ended_before": ended_before,
        "exit_code": first.returncode,
        "seconds_to_end": round(seconds_to_end, 1),
        "jobs_at_rerun": alive,
        "faults": wrong,
    }


def faults(reference: Reference, project: Project, folder: Path, code: int, said: str) -> list[str]:
    """What is wrong with a study that was run again, in words."""
    if code:
        return [f"exit code {code}: {said[-2000:]}"]
    wrong = [f"runs.csv: {difference}" for difference in differences(reference.project, project)]
    if not until(lambda: not marked(str(folder)), 30):
        wrong += [f"left at work: {process}" for process in marked(str(folder))]
    there, wanted = files_of(project.root), files_of(reference.project.root)
    wrong += [f"left over: {name}" for name in sorted(there - wanted)]
    wrong += [f"missing: {name}" for name in sorted(wanted - there)]
    wrong += [f"left over: tmp/{name}" for name in sorted(every_file(folder / "tmp"))]
    if jobs := project.jobs():
        wrong.append(f"a third call would run {jobs}")
    return wrong


def differences(one: Project, other: Project) -> list[str]:
    """Where two tables differ, but for those columns."""
    tables = [{row["id"]: row for row in project.rows()} for project in (one, other)]
    if tables[0].keys() != tables[1].keys():
        return ["other runs"]
    return [
        f"{run}, {name}: {value} and {tables[1][run].get(name)}"
        for run, row in tables[0].items()
        for name, value in row.items()
        if name not in OF_TIME and tables[1][run].get(name) != value
    ]


def every_file(folder: Path) -> set[str]:
    """All files below a folder, by their names within it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def files_of(root: Path) -> set[str]:
    """Files of a project that are the same in each run of it: names with the hour in them and the
    memory of Snakemake are left out, its locks and marks of incomplete files are not."""
    kept = set()
    for name in every_file(root):
        if name.startswith("results/micro/wandb/") or "__pycache__" in name or name == "run.log":
            continue
        if name.startswith(".snakemake/") and name.split("/")[1] not in ("locks", "incomplete"):
            continue
        kept.add(name)
    return kept


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30, help="at moments that are drawn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--boundaries", action="store_true", help="at the end of each stage too")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no case after that")
    options = parser.parse_args()
    began = time.monotonic()
    reference = make_reference(options.folder)
    print(f"the whole takes {reference.seconds:.0f} s", flush=True)
    for case in cases(options.kills, options.boundaries, reference.seconds, options.seed):
        if time.monotonic() - began > 60 * options.minutes:
            break
        found = kill_and_rerun(reference, options.folder / "case", case)
        with open(options.folder / "kills.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)
        if found["faults"]:
            kept = options.folder / f"wrong-{time.time():.0f}"
            (options.folder / "case").rename(kept)


if __name__ == "__main__":
    main()
