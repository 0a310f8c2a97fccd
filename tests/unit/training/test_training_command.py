"""The verb `train`: what it leaves, what it refuses, and how it stops and starts again."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.files import digest, read_json, write_json
from scalelab.plan.families import Shape, count
from scalelab.training import loop, run
from scalelab.training.progress import MANAGER
from scalelab.training.run import read_metrics, train
from scalelab.training.step import Stepper

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]


def silent(_: str) -> None:
    """Nobody reads the progress."""


def words(spec: dict[str, Any], corpus: Path, out: Path, *more: str) -> list[str]:
    """The command line of a run."""
    return ["train", "--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out), *more]


def strict(text: str) -> Any:
    """JSON without NaN and infinities."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in a JSON file")

    return json.loads(text, parse_constant=refuse)


def test_a_run_leaves_its_record(trained: Path, spec: Spec) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "checkpoint",
        "metrics.jsonl",
        "run.json",
    ]
    result = strict((trained / "run.json").read_text())
    counts = count(Shape(**spec()["model"]))
    assert result["id"] == digest(spec())
    assert result["spec"] == spec()
    assert (result["status"], result["reason"]) == ("ok", None)
    assert (result["steps"], result["D"]) == (60, 60 * 64)
    assert result["C"] == result["D"] * counts.training_flops
    assert result["C_6ND"] == 6 * counts.n * result["D"]
    assert result["counts"]["N"] == counts.n == 888
    assert result["counts"]["N_total"] == counts.n_total == 888 + 257 * 8 + 16 * 8
    assert result["precision"] == "fp32"
    assert result["threads"] == 1
    assert result["resumed_from"] == []
    lines = read_metrics(trained / "metrics.jsonl")
    assert [line["step"] for line in lines] == [*range(1, 61)]
    assert result["train_loss_nats"] == pytest.approx(
        sum(line["loss_nats"] for line in lines[-3:]) / 3
    )
    assert result["tokens_per_second"] == pytest.approx(result["D"] / result["seconds"], rel=0.1)
    assert result["peak_memory_bytes"] > 1e7


def test_a_complete_run_is_left_alone_and_a_changed_one_is_not(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    notes: list[str] = []
    first = train(spec(steps=10), corpus_folder, tmp_path / "run", 1, notes.append)
    again = train(spec(steps=10), corpus_folder, tmp_path / "run", 1, notes.append, "d8-s1")
    assert again == first
    assert notes[-1] == "d8-s1: already complete"
    (tmp_path / "run" / "metrics.jsonl").unlink()
    train(spec(steps=10), corpus_folder, tmp_path / "run", 1, notes.append)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    other = train(spec(steps=12), corpus_folder, tmp_path / "run", 1, notes.append)
    assert other["steps"] == 12
    assert not any("already" in note for note in notes[3:])


def test_equal_runs_have_equal_weights(corpus_folder: Path, tmp_path: Path, spec: Spec) -> None:
    bytes_of = []
    for name in ("one", "two"):
        train(spec(steps=10), corpus_folder, tmp_path / name, 1, silent)
        bytes_of.append((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes())
    assert bytes_of[0] == bytes_of[1]


def test_a_diverged_run_is_a_result(corpus_folder: Path, tmp_path: Path, spec: Spec) -> None:
    """Case T01."""
    out = tmp_path / "run"
    assert main(words(spec(lr=10.0), corpus_folder, out)) == 0
    result = strict((out / "run.json").read_text())
    assert result["status"] == "diverged"
    assert result["reason"].startswith(f"step {result['steps']}: ")
    assert result["D"] == result["steps"] * 64 < 60 * 64
    assert (out / "checkpoint" / "model.safetensors").exists()
    assert [strict(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_without_memory_is_a_result(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accumulate(*_: Any) -> float:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Stepper, "_accumulate", accumulate)
    assert main(words(spec(), corpus_folder, tmp_path / "run")) == 0
    result = strict((tmp_path / "run" / "run.json").read_text())
    assert (result["status"], result["D"], result["train_loss_nats"]) == ("oom", 0, None)
    assert result["tokens_per_second"] == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""


def test_a_first_step_that_is_not_finite_is_a_result(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stepper, "_accumulate", lambda *_: math.nan)
    result = train(spec(), corpus_folder, tmp_path / "run", 1, silent)
    assert (result["status"], result["steps"]) == ("diverged", 0)
    assert result["reason"] == "step 1: the loss is not finite"


@pytest.mark.parametrize("what", ["vocabulary", "too many steps", "no corpus", "no spec"])
def test_a_mistake_is_one_sentence_and_leaves_no_run(
    corpus_folder: Path,
    tmp_path: Path,
    spec: Spec,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    settings = spec(steps=5000) if what == "too many steps" else spec()
    if what == "vocabulary":
        settings["model"] = {**settings["model"], "vocab": 512}
    corpus = tmp_path / "none" if what == "no corpus" else corpus_folder
    line = words(settings, corpus, tmp_path / "run")
    if what == "no spec":
        line[2] = "{"
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.startswith("scalelab train: ")
    assert error.count("\n") == 1
    expected = {
        "vocabulary": ["257", "512"],
        "too many steps": ["320,000", "single epoch"],
        "no corpus": ["manifest.json", "no such file"],
        "no spec": ["expected JSON"],
    }
    assert all(part in error for part in expected[what])
    assert not (tmp_path / "run").exists()


def test_a_second_writer_waits_and_then_gives_up(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case S13."""
    monkeypatch.setattr(run, "WAIT_SECONDS", 0.05)
    notes: list[str] = []
    folder = tmp_path / "run"
    (tmp_path / ".locks").mkdir()
    with (
        FileLock(tmp_path / ".locks" / "run.lock"),
        pytest.raises(UserError, match="another process trains this run"),
    ):
        train(spec(), corpus_folder, folder, 1, notes.append, "d8-s1")
    assert notes == ["d8-s1: another process holds this run, waiting up to 0.05 s"]
    assert not folder.exists(), "the second writer writes nothing"
    assert train(spec(steps=10), corpus_folder, folder, 1, silent)["status"] == "ok"


def test_an_orphan_saves_its_state_and_leaves(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases S01 and S13."""
    line = words(spec(), corpus_folder, tmp_path / "run", "--log", str(tmp_path / "log"))
    monkeypatch.setattr(loop, "orphaned", lambda: True)
    assert main(line) == 75
    assert "stopped at step 1, state saved" in (tmp_path / "log").read_text()
    left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == ["progress.json", "state"]
    monkeypatch.setattr(loop, "orphaned", lambda: False)
    assert main(line) == 0
    assert read_json(tmp_path / "run" / "run.json")["resumed_from"] == [1]
    assert not (tmp_path / "run" / "state").exists()


def test_signals_are_given_back(corpus_folder: Path, tmp_path: Path, spec: Spec) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    train(spec(steps=10), corpus_folder, tmp_path / "run", 1, silent)
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert after == before


def test_a_terminated_process_is_taken_up_by_the_same_command(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case T06: one process saves, another one reads."""
    out = tmp_path / "it's a run"
    settings = spec(steps=600, batch_tokens=32)
    write_json(tmp_path / "spec.json", settings)
    line = words(settings, corpus_folder, out, "--checkpoint-seconds", "0")
    line[2] = f"@{tmp_path / 'spec.json'}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop(MANAGER, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "scalelab", *line],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while process.poll() is None and not [*out.glob("state/*.state")]:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 75, error
    assert "state saved" in error
    assert "Traceback" not in error
    assert not (out / "run.json").exists()

    assert main(line) == 0
    result = read_json(out / "run.json")
    (at,) = result["resumed_from"]
    assert 0 < at < 600
    steps = [line["step"] for line in read_metrics(out / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 600)
    assert result["state_bytes"] > 0
