"""A lost process of several: the run ends whole and goes on with another number of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.files import read_json
from scalelab.training.progress import MANAGER
from scalelab.training.run import read_metrics

pytestmark = pytest.mark.slow
Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]


def start(spec: dict[str, Any], corpus: Path, out: Path, processes: int) -> "subprocess.Popen[str]":
    """The verb, with a state every now and then."""
    words = ["train", "--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out)]
    words += ["--processes", str(processes), "--threads", str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop(MANAGER, None)
    return subprocess.Popen(
        [sys.executable, "-m", "scalelab", *words, "--checkpoint-seconds", "0.1"],
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
    process = start(spec(steps=400), corpus_folder, out, 1)
    _, told = process.communicate()
    assert process.returncode == 0, told
    return losses(out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processes are found in /proc")
@pytest.mark.parametrize(("lost", "sharding", "then"), [(1, False, 1), (0, True, 1), (1, True, 4)])
def test_a_lost_process_ends_the_run_and_it_goes_on_with_another_number(
    spec: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    undisturbed: list[float],
    lost: int,
    sharding: bool,
    then: int,
) -> None:
    settings = {**spec(steps=400), "processes": 2, "sharding": sharding}
    process = start(settings, corpus_folder, tmp_path, 2)
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

    process = start(settings, corpus_folder, tmp_path, then)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    result = read_json(tmp_path / "run.json")
    (at,) = result["resumed_from"]
    assert (result["status"], result["processes"]) == ("ok", then)
    assert f"taken up again at step {at} of 400, by {then} process" in told
    assert result["stretches"] == [
        {"from_step": 0, "processes": 2, "threads": 1},
        {"from_step": at, "processes": then, "threads": 1},
    ]
    assert result["mfu"] is None, "of no one number of processes"
    assert losses(tmp_path) == pytest.approx(undisturbed, abs=1e-5)
