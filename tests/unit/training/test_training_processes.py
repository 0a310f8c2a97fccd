"""Runs as processes: killed while they write, started twice at once, on the threads given."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.evaluation.collect import collect
from scalelab.files import digest, read_json
from scalelab.training.progress import MANAGER
from scalelab.training.run import read_metrics, train

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]
KILLED_AT = """
import os, signal, sys
from scalelab import cli, files
replace = os.replace

def kill(source, target):
    if os.path.basename(target) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = kill
cli.main(sys.argv[2:])
"""
"""`scalelab`, killed when the file of that name is written but has its temporary name still."""


def start(*words: str) -> "subprocess.Popen[str]":
    """Python in a process of its own, with this package."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop(MANAGER, None)
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def words(spec: dict[str, Any], corpus: Path, out: Path) -> list[str]:
    """The command line of a run."""
    return ["train", "--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out)]


def test_a_run_killed_while_it_writes_has_whole_files_or_none(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case S02: at each file of a result in turn; the next call goes on from there."""
    settings = spec(steps=20)
    folder = tmp_path / digest(settings)
    line = words(settings, corpus_folder, folder)
    plan = {"runs": [{"id": folder.name, "label": "d8-s1"}], "evaluation_id": "e"}
    for name in ("metrics.jsonl", "run.json"):
        process = start("-c", KILLED_AT, name, *line)
        _, error = process.communicate(timeout=600)
        assert process.returncode == -9, error
        assert not (folder / name).exists()
        assert [*folder.glob(f".{name}.*.tmp")], "it was not written when the process was killed"
        with pytest.raises(UserError, match=r"run\.json: no such file"):
            collect(plan, tmp_path)
    assert [row["step"] for row in read_metrics(folder / "metrics.jsonl")] == [*range(1, 21)]
    assert main(line) == 0
    assert read_json(folder / "run.json")["status"] == "ok"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "metrics.jsonl",
        "run.json",
    ]


def test_of_two_processes_for_one_run_one_trains(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case S13: the other one waits, finds the run complete and writes nothing."""
    line = words(spec(steps=600), corpus_folder, tmp_path / "run")
    processes = [start("-m", "scalelab", *line) for _ in range(2)]
    told = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sorted("already complete" in text for text in told) == [False, True]
    assert sorted("600 steps in" in text for text in told) == [False, True]
    assert [row["step"] for row in read_metrics(tmp_path / "run/metrics.jsonl")][-1] == 600
    assert read_json(tmp_path / "run/run.json")["resumed_from"] == []


def test_a_run_uses_the_threads_it_is_given(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case S10: whatever the machine has and the environment says."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            result = train(spec(steps=10), corpus_folder, tmp_path / "run", threads, lambda _: None)
            assert torch.get_num_threads() == result["threads"] == threads
    finally:
        torch.set_num_threads(before)
