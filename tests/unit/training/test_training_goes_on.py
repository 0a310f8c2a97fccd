"""What a run keeps when it is taken up again, and what it records when its memory ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.cli import main
from scalelab.evaluation.run import evaluate
from scalelab.files import cache_file, read_json
from scalelab.training import loop, machine, paths, run
from scalelab.training.loop import Trainer
from scalelab.training.optimizer import FlatAdamW, norm_of
from scalelab.training.paths import ComputePath
from scalelab.training.progress import Interrupted
from scalelab.training.run import read_metrics, train

Spec = Callable[..., dict[str, Any]]
Make = Callable[..., Trainer]


def chosen(monkeypatch: pytest.MonkeyPatch, path: ComputePath) -> None:
    """Have the machine measure that this way is the quickest."""
    monkeypatch.setattr(paths, "_hopeless", lambda _: False)
    monkeypatch.setattr(paths, "_seconds", lambda _, tried: 1.0 if tried == path else 100.0)


@pytest.mark.parametrize(
    "began",
    [ComputePath("bf16", True), ComputePath("fp32", False)],
    ids=["bf16 by hand", "fp32 by torch"],
)
def test_a_run_keeps_its_way_of_computing_without_the_cache(
    spec: Spec,
    trainer: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    began: ComputePath,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = spec(steps=40, precision="auto")
    chosen(monkeypatch, began)
    straight = trainer(settings, folder=tmp_path / "straight").run(1e9, lambda: False)
    first = trainer(settings)
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 20)
    assert first.stepper.path == began
    shutil.rmtree(cache_file("paths.json").parent)
    chosen(monkeypatch, ComputePath("fp32", True))
    second = trainer(settings)
    assert second.stepper.path != began, "the machine measures another one now"
    ended = second.run(1e9, lambda: False)
    assert ended.path == began
    assert [row["loss_nats"] for row in ended.records] == [
        row["loss_nats"] for row in straight.records
    ]


def test_a_run_keeps_its_micro_batch_when_there_is_less_free_memory(
    spec: Spec, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = spec(steps=40, batch_tokens=256)
    straight = trainer(settings, folder=tmp_path / "straight").run(1e9, lambda: False)
    first = trainer(settings)
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 20)
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: 1)
    second = trainer(settings)
    assert (first.stepper.micro, second.stepper.micro) == (16, 1)
    ended = second.run(1e9, lambda: False)
    assert ended.micro == 16
    assert [row["loss_nats"] for row in ended.records] == [
        row["loss_nats"] for row in straight.records
    ]


def out_of_memory(*_: Any, **__: Any) -> Any:
    """As CUDA tells it."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_model_that_does_not_fit_is_a_result(
    spec: Spec, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    words = ["--corpus", str(corpus_folder), "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "build", out_of_memory)
        assert main(["train", "--spec", json.dumps(spec()), *words]) == 0
    result = read_json(out / "run.json")
    assert (result["status"], result["steps"], result["D"]) == ("oom", 0, 0)
    assert result["reason"].startswith("step 1: no memory for the model and its optimiser: CUDA")
    assert read_metrics(out / "metrics.jsonl") == []
    assert [path.name for path in (out / "checkpoint").iterdir()] == ["scalelab.json"]
    notes: list[str] = []
    assert train(spec(), corpus_folder, out, 1, notes.append) == result
    assert "already complete" in notes[-1]
    settings = {"split": "test", "context": None, "stride": None}
    score = evaluate(out, corpus_folder, settings, out / "eval.json", 1, notes.append)
    assert (score["status"], score["loss_nats"]) == ("oom", None)


def test_an_update_without_memory_is_a_result(
    spec: Spec, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlatAdamW, "step", out_of_memory)
    result = train(spec(), corpus_folder, tmp_path / "run", 1, lambda _: None)
    assert (result["status"], result["reason"]) == (
        "oom",
        "step 1: CUDA out of memory. Tried to allocate 2 GiB",
    )
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").exists()


def test_memory_that_ends_elsewhere_is_one_sentence(
    spec: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "export", out_of_memory)
    words = ["--corpus", str(corpus_folder), "--out", str(tmp_path / "run")]
    assert main(["train", "--spec", json.dumps(spec(steps=10)), *words]) == 2
    told = capsys.readouterr().err
    assert "out of memory (CUDA out of memory. Tried to allocate 2 GiB); give the run" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("size", [0, 7, 65_536, 10_000_000])
def test_the_norm_of_many_gradients_is_that_of_double_precision(size: int) -> None:
    """In fp32 alone it lacks 4e-4 of it at 1e7."""
    flat = 1e-3 * torch.randn(size, generator=torch.manual_seed(0))
    assert norm_of(flat) == pytest.approx(float(flat.double().norm()), rel=1e-6)
    if size:
        flat[size // 2] = torch.inf
        assert norm_of(flat) == float("inf")
        flat[0] = torch.nan
        assert norm_of(flat) != norm_of(flat)


def test_a_folder_that_is_removed_in_the_middle_costs_its_states_alone(
    spec: Spec, trainer: Make, tmp_path: Path
) -> None:
    settings = spec(steps=40)
    straight = trainer(settings, folder=tmp_path / "straight").run(1e9, lambda: False)
    first = trainer(settings, folder=tmp_path / "run" / "state")

    def removed() -> bool:
        if first.done == 20:
            assert list((tmp_path / "run" / "state").iterdir())
            shutil.rmtree(tmp_path / "run")
        return False

    ended = first.run(0.0, removed)
    assert [row["loss_nats"] for row in ended.records] == [
        row["loss_nats"] for row in straight.records
    ]
    assert list((tmp_path / "run" / "state").iterdir()), "later states are there"
