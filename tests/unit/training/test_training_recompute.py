"""Activation checkpointing: the same losses with less memory, alone and with several processes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_distributed import train

from scalelab.models import build
from scalelab.models.registry import names
from scalelab.plan.families import Shape
from scalelab.plan.passes import Pass, held
from scalelab.training import machine, paths
from scalelab.training.paths import ComputePath
from scalelab.training.recompute import recompute_blocks
from scalelab.training.step import USABLE, micro_sequences

Spec = Callable[..., dict[str, Any]]
WITH = {"checkpoint_activations": True}


def losses(
    trainer: Callable[..., Any], spec: dict[str, Any], folder: Path, separator: int | None
) -> list[tuple[float, float]]:
    """Losses and norms of the steps of a run."""
    made = trainer(spec, folder)
    made.model.separator = separator
    return [made.stepper(*made.batches.step(step), 1e-3) for step in range(5)]


@pytest.mark.parametrize("separator", [None, 100], ids=["stream", "documents"])
@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by torch"])
def test_losses_and_gradients_are_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
    trainer: Callable[..., Any],
    spec: Spec,
    tmp_path: Path,
    by_hand: bool,
    separator: int | None,
) -> None:
    monkeypatch.setattr(paths, "choose", lambda *_: ComputePath("fp32", by_hand))
    plain = spec(steps=5)
    again = {**plain, "training": {**plain["training"], **WITH}}
    expected = losses(trainer, plain, tmp_path / "a", separator)
    assert losses(trainer, again, tmp_path / "b", separator) == expected
    assert expected[0][1] > 0


@pytest.mark.parametrize("family", names())
def test_every_family_computes_its_blocks_again(
    monkeypatch: pytest.MonkeyPatch,
    trainer: Callable[..., Any],
    spec: Spec,
    tmp_path: Path,
    family: str,
) -> None:
    monkeypatch.setattr(paths, "choose", lambda *_: ComputePath("fp32", False))
    plain = spec(steps=5)
    plain["model"]["family"] = family
    again = {**plain, "training": {**plain["training"], **WITH}}
    expected = losses(trainer, plain, tmp_path / "a", None)
    assert losses(trainer, again, tmp_path / "b", None) == expected


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by torch"])
def test_what_is_kept_is_what_is_counted(by_hand: bool) -> None:
    """Tensors that autograd keeps after a forward pass, counted by its own hooks, within 2%."""
    shape = Shape("gpt2", depth=4, width=64, heads=4, context=64, vocab=64)
    for recomputed in (False, True):
        model = build(shape, seed=0)
        ComputePath("fp32", by_hand).apply(model)
        if recomputed:
            recompute_blocks(model)
        found = kept_bytes(model, shape)
        expected = held(shape, Pass(2, 4, by_hand, recomputed)).kept
        assert found == pytest.approx(expected, rel=0.02)


def kept_bytes(model: Any, shape: Shape) -> int:
    """Bytes that the graph of a forward pass keeps beside parameters and tokens."""
    kept: dict[int, int] = {}
    tensors = []
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
            tensors.append(tensor)  # so that no address is used twice
        return tensor

    tokens = torch.zeros(2, shape.context, dtype=torch.long)
    known.add(tokens.untyped_storage().data_ptr())
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.hidden(tokens)
    return sum(kept.values())


def test_more_sequences_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape("gpt2", depth=12, width=64, heads=2, context=128, vocab=512)
    path, cpu = ComputePath("fp32", True), torch.device("cpu")
    room = held(shape, Pass(4)).peak / USABLE
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: room)
    assert micro_sequences(shape, 1000, path, cpu) == 4
    assert micro_sequences(shape, 1000, path, cpu, recomputed=True) > 12
    assert held(shape, replace(Pass(4), checkpointed=True)).kept < held(shape, Pass(4)).kept / 10


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_that_keeps_everything(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    one = spec(steps=20, batch_tokens=96)
    expected = train(one, corpus_folder, tmp_path / "one")
    two = {**one, "training": {**one["training"], **WITH}, "processes": 2, "sharding": True}
    found = train(two, corpus_folder, tmp_path / "two", "--processes", "2", "--threads", "2")
    assert found == pytest.approx(expected, abs=1e-5)
