"""Kills a workflow at many moments and calls the same command again.

    python tests/faults/kills.py FOLDER --kills 30 --stages 3

The micro study runs to its end once. Then, in a fresh copy, its process group gets SIGKILL, SIGTERM
or SIGINT, and the same command is called at once, while jobs of the first one may still be at work;
that one is killed as well, and so on, until the last call may end. A chain of kills is either at
moments drawn over the time that the whole took, or at the end of each stage, when its file has just
appeared. What must hold after a chain is in `faults`; each is a line of FOLDER/kills.jsonl.
"""

import argparse
import contextlib
import itertools
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
from workflow_project import PATIENCE, Project

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
MARK = "KILLS_CHAIN"
"""An environment variable by which the processes of a chain are known, wherever they are."""
OF_TIME = {
    "seconds",
    "tokens_per_second",
    "flops_per_second",
    "mfu",
    "peak_memory_bytes",
    "resumed",
}
"""Columns that tell of the machine and of what happened."""


@dataclass(frozen=True)
class Kill:
    """One kill: by what, and when."""

    signal: signal.Signals
    after_seconds: float | None = None
    after_stage: str | None = None

    def __str__(self) -> str:
        when = self.after_stage or f"{self.after_seconds:.1f} s"
        return f"{self.signal.name} at {when}"


@dataclass(frozen=True)
class Reference:
    """The study that nobody killed."""

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


def chains(kills: int, chain: int, stages: int, seconds: float, seed: int) -> Iterator[list[Kill]]:
    """So many kills in chains of `chain`, then all stages, so many times; the signals in turn."""
    generator = random.Random(seed)
    for start in range(0, kills, chain):
        moments = sorted(generator.uniform(0, seconds) for _ in range(min(chain, kills - start)))
        waits = [after - before for before, after in itertools.pairwise([0.0, *moments])]
        yield [Kill(SIGNALS[(start + n) % 3], after_seconds=wait) for n, wait in enumerate(waits)]
    for turn in range(stages):
        yield [Kill(SIGNALS[(turn + n) % 3], after_stage=name) for n, name in enumerate(STAGES)]


def marked(mark: str) -> list[str]:
    """The command lines of processes that were started in a chain."""
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


def kill_and_rerun(reference: Reference, folder: Path, chain: list[Kill]) -> dict[str, Any]:
    """What came of one chain; its folder stays where something is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    project = Project.create(folder / "project")
    (folder / "tmp").mkdir()
    environment = {MARK: str(folder), "TMPDIR": str(folder / "tmp")}
    try:
        killed = [kill_once(project, kill, environment) for kill in chain]
        code = project.start(env=environment).wait()
        said = (project.root / "run.log").read_text(encoding="utf-8")
        wrong = faults(reference, project, folder, code, said)
    finally:
        for pid in project.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    if not wrong:
        shutil.rmtree(folder)
    return {"kills": [kill for kill in killed if kill], "faults": wrong}


def kill_once(project: Project, kill: Kill, environment: dict[str, str]) -> dict[str, Any] | None:
    """Start the workflow and kill it; None where it was over before, or the stage already."""
    pattern, wanted = STAGES[kill.after_stage] if kill.after_stage else ("", 0)

    def there() -> bool:
        return bool(pattern) and len([*project.root.glob(pattern)]) >= wanted

    if there():
        return None
    process = project.start(env=environment)
    try:
        until(lambda: there() or process.poll() is not None, kill.after_seconds or PATIENCE)
        if process.poll() is not None:
            return None
        os.killpg(process.pid, kill.signal)
        began = time.monotonic()
        process.wait(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
    return {
        "kill": str(kill),
        "exit_code": process.returncode,
        "seconds_to_end": round(time.monotonic() - began, 1),
        "jobs_left_at_work": len(marked(environment[MARK])),
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
    parser = argparse.ArgumentParser(description="Kill a workflow and call it again.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30, help="at moments that are drawn")
    parser.add_argument("--chain", type=int, default=5, help="kills before the study may end")
    parser.add_argument("--stages", type=int, default=3, help="chains over all stages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no chain after that")
    options = parser.parse_args()
    began = time.monotonic()
    reference = make_reference(options.folder)
    print(f"the whole takes {reference.seconds:.0f} s", flush=True)
    for number, chain in enumerate(
        chains(options.kills, options.chain, options.stages, reference.seconds, options.seed)
    ):
        if time.monotonic() - began > 60 * options.minutes:
            break
        folder = options.folder / f"chain-{options.seed}-{number}"
        found = {"chain": folder.name, **kill_and_rerun(reference, folder, chain)}
        with open(options.folder / "kills.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(found) + "\n")
        print(json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
