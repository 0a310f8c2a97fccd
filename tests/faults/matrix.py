"""Calls four verbs in many environments: python tests/faults/matrix.py FOLDER

`scalelab plan`, `fit`, `corpus` and `train` on small inputs, first as usual, then in each of
`environments`. All must end with exit code 0, no warning, and the same results. Where a program is
missing (unshare, faketime) an environment is left out, and said so. To be called as root.
"""

import argparse
import json
import os
import pty
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUDY = """\
study: small
seed: 7
corpus: {source: files, paths: [text/*.txt], tokenizer: bytes, test_tokens: 4k, tuning_tokens: 2k}
model: {depth: 1, heads: 2, context: 32}
ladder: {widths: [8, 16]}
training: {tokens: 20k, batch_tokens: 256, lr: 1e-2, precision: fp32}
"""
AWKWARD = 'it\'s a "test" $HOME/naïve — 模型 🙂'
NOBODY = 65534
MEMORY = Path("/sys/fs/cgroup/memory")
OF_TIME = {"seconds", "tokens_per_second", "peak_flops_per_second", "mfu", "peak_memory_bytes"}
OF_TIME |= {"provenance", "checkpoint_bytes"}  # a checkpoint holds what made it


@dataclass(frozen=True)
class Environment:
    """How a command is called: what stands before it, what its environment lacks or has more."""

    before: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    more: dict[str, str] = field(default_factory=dict)
    folder: str = "usual"
    terminal: bool = False
    prepare: Callable[[Path], None] = lambda folder: None
    user: int = 0
    """Other than 0: the user that it runs as."""


def environments(folder: Path) -> dict[str, Environment]:
    """Each by its name; `folder` may be written to."""
    closed = folder / "closed"
    closed.mkdir(exist_ok=True)
    closed.chmod(0o555)
    home = ("HOME", "XDG_CACHE_HOME")
    words = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING")
    group = MEMORY / "scalelab"
    return {
        "usual": Environment(),
        "no HOME": Environment(without=home),
        "HOME that is no folder": Environment(without=home, more={"HOME": "/dev/null"}),
        "HOME read-only": Environment(without=home, more={"HOME": str(closed)}, user=NOBODY),
        "HOME empty": Environment(without=home, more={"HOME": ""}),
        "no terminal, no input": Environment(before=("setsid",)),
        "a terminal of 40 columns": Environment(terminal=True, more={"COLUMNS": "40"}),
        "LANG=C": Environment(without=words, more={"LANG": "C"}),
        "LC_ALL=C without Python's UTF-8": Environment(
            without=words,
            more={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        ),
        "LANG unset": Environment(without=words),
        "a language that is not there": Environment(without=words, more={"LC_ALL": "xx_XX.nope"}),
        "spaces, quotes and other scripts in the path": Environment(folder=AWKWARD),
        "another user": Environment(user=NOBODY, without=home),
        "another user without a name": Environment(user=54321, without=home),
        "the clock in 2001": Environment(before=("faketime", "2001-01-01 00:00:00")),
        "files of 2040": Environment(prepare=of_the_future),
        "no network": Environment(before=("unshare", "-n")),
        "one core": Environment(before=("taskset", "-c", "0")),
        "2 GB of memory": Environment(prepare=lambda _: limit(group), before=joining(group)),
        "a dumb terminal": Environment(more={"TERM": "dumb"}),
    }


def of_the_future(folder: Path) -> None:
    """Give all inputs a time to come."""
    for path in folder.rglob("*"):
        os.utime(path, (2.2e9, 2.2e9))


def limit(group: Path) -> None:
    """A control group of version 1 whose processes have 2 GB together."""
    group.mkdir(exist_ok=True)
    (group / "memory.limit_in_bytes").write_text("2G")


def joining(group: Path) -> tuple[str, ...]:
    """Words before a command that is to run in a control group."""
    return ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")


def inputs(folder: Path) -> None:
    """A study, its text and a table of runs."""
    (folder / "text").mkdir(parents=True)
    for number in range(20):
        words = (f"{word}{(word * number) % 97}" for word in range(1500))
        (folder / "text" / f"{number:02}.txt").write_text(" ".join(words), encoding="utf-8")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    rows = ["N,D,loss_nats"]
    for n in (1e6, 3e6, 1e7, 3e7):
        for d in (1e8, 3e8, 1e9, 3e9):
            wiggle = 1 + 0.002 * ((7 * len(rows)) % 5 - 2)
            rows.append(f"{n},{d},{(1.7 + 400 / n**0.34 + 410 / d**0.28) * wiggle}")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def commands(folder: Path) -> dict[str, Callable[[], list[str]]]:
    """The words of each verb, made when its turn comes: some need what the others wrote."""

    def planned() -> Any:
        return json.loads((folder / "plan.json").read_text(encoding="utf-8"))

    def corpus() -> list[str]:
        (spec,) = planned()["corpora"].values()
        return ["corpus", "--spec", json.dumps(spec), "--out", "corpus"]

    def train() -> list[str]:
        spec = json.dumps(planned()["runs"][0]["spec"])
        return ["train", "--spec", spec, "--corpus", "corpus", "--out", "run", "--log", "run.log"]

    return {
        "plan": lambda: ["plan", "study.yaml", "--json", "plan.json"],
        "fit": lambda: ["fit", "runs.csv", "--json", "laws.json"],
        "corpus": corpus,
        "train": train,
    }


def without_time(value: Any) -> Any:
    """A JSON value without what tells of the machine and the hour."""
    if isinstance(value, dict):
        return {key: without_time(one) for key, one in value.items() if key not in OF_TIME}
    return [without_time(one) for one in value] if isinstance(value, list) else value


def results(folder: Path) -> dict[str, Any]:
    """What must be the same everywhere."""
    found = {}
    for name in ("plan.json", "laws.json", "corpus/manifest.json", "run/run.json"):
        path = folder / name
        if path.exists():
            found[name] = without_time(json.loads(path.read_text(encoding="utf-8")))
    return found


def call(
    words: list[str], folder: Path, there: Environment, python: str
) -> "tuple[subprocess.CompletedProcess[bytes], bytes]":
    """Call one verb; what it said, and what came out of its terminal."""
    env = {key: value for key, value in os.environ.items() if key not in there.without}
    packages = [path for path in sys.path if path.endswith("site-packages")]
    env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), **there.more}
    command = [*there.before, python, "-m", "scalelab", *words]
    user = {"user": there.user, "group": there.user, "extra_groups": []} if there.user else {}
    ours, theirs = pty.openpty() if there.terminal else (None, None)
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=theirs if there.terminal else subprocess.DEVNULL,
        stdout=theirs if there.terminal else subprocess.PIPE,
        stderr=theirs if there.terminal else subprocess.PIPE,
        timeout=600,
        **user,  # type: ignore[call-overload]
    )
    shown = b""
    if ours is not None and theirs is not None:
        os.close(theirs)
        try:
            shown = os.read(ours, 1_000_000)
        except OSError:  # nothing was written
            shown = b""
        os.close(ours)
    return done, shown


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description="Call four verbs in many environments.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable, help="one that each user may start")
    parser.add_argument("--only", nargs="+", help="environments whose names hold one of these")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    usual: dict[str, Any] = {}
    for name, there in environments(options.folder).items():
        wanted = options.only is None or any(word in name for word in options.only)
        if name != "usual" and not wanted:
            continue
        if there.before and not shutil.which(there.before[0]):
            print(f"{name}: left out, no {there.before[0]} here", flush=True)
            continue
        folder = options.folder / name.replace(" ", "-").replace("'", "") / there.folder
        shutil.rmtree(folder, ignore_errors=True)
        inputs(folder)
        for path in [*folder.parents[:1], folder, *folder.rglob("*")] if there.user else ():
            os.chown(path, there.user, there.user)
        there.prepare(folder)
        told = []
        for verb, words in commands(folder).items():
            done, shown = call(words(), folder, there, options.python)
            said = (done.stderr or b"") + shown
            if done.returncode or b"Traceback" in said or b"Warning" in said:
                told.append(f"{verb}: exit code {done.returncode}, {said.decode()[-600:]}")
        found = results(folder)
        usual = usual or found
        told += [f"{key}: other results" for key in usual if found.get(key) != usual[key]]
        print(f"{name}: {'; '.join(told) or 'the same results'}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"at most {peak / 1024:.0f} MB in one process", flush=True)


if __name__ == "__main__":
    main()
