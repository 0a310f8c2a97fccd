"""A lost process of several: the run ends whole and goes on with another number of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from scalelab.files import read_json
from scalelab.training.progress import MANAGER
from scalelab.training.run import read_metrics

pytestmark = pytest.mark.slow
Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]
KILLED_AT_40 = """
import os, signal, sys
from scalelab import cli, files
replace = os.replace

def kill(source, target):
    if os.path.basename(target) == "000000040.state":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = kill
cli.main(sys.argv[1:])
"""
"""`scalelab`, killed while it writes its state after 40 steps."""


def start(
    spec: dict[str, Any],
    corpus: Path,
    out: Path,
    processes: int,
    checkpoint_seconds: float = 30,
    how: Sequence[str] = ("-m", "scalelab"),
) -> "subprocess.Popen[str]":
    """The verb, in so many processes of one thread."""
    words = ["train", "--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out)]
    words += ["--processes", str(processes), "--threads", str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop(MANAGER, None)
    return subprocess.Popen(
        [sys.executable, *how, *words, "--checkpoint-seconds", str(checkpoint_seconds)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ranks(launcher: int) -> dict[int, int]:
    """Process ids of a launcher's children, by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == launcher:
                values = (folder / "environ").read_text().split("\0")
                rank = next(value for value in values if value.startswith("RANK="))
                found[int(rank.removeprefix("RANK="))] = int(folder.name)
    return found


def until_saved(out: Path, process: "subprocess.Popen[str]") -> None:
    """Wait for a resume state."""
    while process.poll() is None and not [*out.glob("state/*.state")]:
        time.sleep(0.02)


def losses(out: Path) -> list[float]:
    """Of each line of the metrics."""
    return [line["loss_nats"] for line in read_metrics(out / "metrics.jsonl")]


@pytest.fixture(scope="module")
def undisturbed(
    spec: Spec, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[float]:
    """The losses of one process that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    process = start(spec(steps=150), corpus_folder, out, 1)
    _, told = process.communicate()
    assert process.returncode == 0, told
    return losses(out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processes are found in /proc")
@pytest.mark.parametrize(("lost", "sharding"), [(1, False), (0, True)])
def test_a_lost_process_ends_the_run_and_it_goes_on_with_another_number(
    spec: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    undisturbed: list[float],
    lost: int,
    sharding: bool,
) -> None:
    settings = {**spec(steps=150), "processes": 2, "sharding": sharding}
    process = start(settings, corpus_folder, tmp_path, 2, checkpoint_seconds=0)
    until_saved(tmp_path, process)
    of_rank = ranks(process.pid)
    os.kill(of_rank[lost], signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGKILL, told
    sentence = (
        f"process {lost + 1} of 2 was ended by SIGKILL; the others were ended too, and the same "
        "command goes on from the last state\n"
    )
    assert told.endswith(sentence) and "Traceback" not in told and "Error" not in told
    assert not any(Path(f"/proc/{pid}").exists() for pid in of_rank.values())
    assert not (tmp_path / "run.json").exists()
    goes_on(settings, corpus_folder, tmp_path, 2, 1, undisturbed)


def test_a_lost_run_of_one_process_goes_on_in_two(
    spec: Spec, corpus_folder: Path, tmp_path: Path, undisturbed: list[float]
) -> None:
    process = start(spec(steps=150), corpus_folder, tmp_path, 1, 0, ["-c", KILLED_AT_40])
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    goes_on({**spec(steps=150), "sharding": True}, corpus_folder, tmp_path, 1, 2, undisturbed)


def goes_on(
    settings: dict[str, Any],
    corpus: Path,
    out: Path,
    before: int,
    after: int,
    undisturbed: list[float],
) -> None:
    """The run ends as one that nobody disturbed, up to rounding, and says what trained it."""
    process = start(settings, corpus, out, after)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    result = read_json(out / "run.json")
    (at,) = result["resumed_from"]
    assert (result["status"], result["processes"]) == ("ok", after)
    assert f"taken up again at step {at} of 150, by {after} process" in told
    assert result["stretches"] == [
        {"from_step": 0, "processes": before, "threads": 1},
        {"from_step": at, "processes": after, "threads": 1},
    ]
    assert result["mfu"] is None, "of no one number of processes"
    assert losses(out) == pytest.approx(undisturbed, abs=1e-5)
