"""Batches, schedule, optimiser, progress: the parts of the loop, each against a plain reference."""

import math
import os
import socket
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalelab.errors import UserError
from scalelab.models import build
from scalelab.plan.families import Shape
from scalelab.training.batches import Batches
from scalelab.training.optimizer import AdamW, FlatAdamW
from scalelab.training.progress import LAUNCHER, MANAGER, manager_identity, orphaned
from scalelab.training.schedule import learning_rate

TOKENS = np.arange(1601, dtype=np.uint16)  # 100 blocks of 16 and one token to predict


def schedule(kind: str, warmup: int = 10, cooldown: int = 0, final: float = 0.0) -> dict[str, Any]:
    """A schedule as it stands in a specification."""
    return {"kind": kind, "warmup_steps": warmup, "cooldown_steps": cooldown, "final": final}


def rates(steps: int, **settings: Any) -> list[float]:
    """Learning rate of every step at a peak of 2."""
    return [learning_rate(step, steps, 2.0, schedule(**settings)) for step in range(steps)]


def test_an_epoch_has_every_block_once() -> None:
    """Case T23."""
    batches = Batches(TOKENS, 16, 64, seed=1)
    seen = [batches.step(step) for step in range(25)]
    inputs = torch.cat([inputs for inputs, _ in seen])
    targets = torch.cat([targets for _, targets in seen])
    assert inputs.shape == targets.shape == (100, 16)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)
    assert sorted(inputs.flatten().tolist()) == [*range(1600)]
    assert sorted(inputs[:, 0].tolist()) != inputs[:, 0].tolist(), "the order is shuffled"


def test_a_shorter_run_sees_a_prefix_and_a_step_needs_none_before_it() -> None:
    first, second = Batches(TOKENS, 16, 32, seed=1), Batches(TOKENS, 16, 64, seed=1)
    small = torch.cat([first.step(step)[0] for step in range(10)])
    large = torch.cat([second.step(step)[0] for step in range(10)])
    assert torch.equal(small, large[: len(small)])
    assert torch.equal(second.step(7)[0], Batches(TOKENS, 16, 64, seed=1).step(7)[0])
    assert not torch.equal(second.step(0)[0], Batches(TOKENS, 16, 64, seed=2).step(0)[0])


def test_too_few_tokens_are_refused_with_both_numbers() -> None:
    batches = Batches(TOKENS, 16, 64, seed=1)
    batches.require(25)
    with pytest.raises(UserError, match=r"wants 1,664 training tokens.*has 1,600"):
        batches.require(26)
    with pytest.raises(UserError, match="has 0"):
        Batches(TOKENS[:10], 16, 64, seed=1).require(1)


@pytest.mark.parametrize("kind", ["wsd", "cosine", "constant"])
def test_warm_up_rises_in_equal_steps_to_the_peak(kind: str) -> None:
    found = rates(100, kind=kind, cooldown=30 if kind == "wsd" else 0)
    assert found[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert max(found) == 2.0
    assert min(found) > 0, "no step is wasted"


def test_wsd_is_flat_and_then_falls_in_a_line() -> None:
    found = rates(100, kind="wsd", cooldown=30)
    assert found[9:70] == [2.0] * 61
    assert found[70:] == pytest.approx([2.0 * left / 31 for left in range(30, 0, -1)])
    to_a_tenth = rates(100, kind="wsd", cooldown=30, final=0.1)
    assert to_a_tenth[-1] == pytest.approx(0.2)
    falls = np.diff(to_a_tenth[69:])
    assert falls == pytest.approx([-1.8 / 30] * 30)


def test_a_cosine_falls_to_its_final_rate() -> None:
    found = rates(100, kind="cosine", final=0.1)
    assert found[-1] == pytest.approx(0.2)
    assert found[54] == pytest.approx(1.1), "half way between peak and end"
    assert found[10:] == sorted(found[10:], reverse=True)
    to_nought = rates(100, kind="cosine")
    assert 0 < to_nought[-1] < 0.01
    middle = 10 + (100 - 10 + 1) / 2 - 1
    before, after = to_nought[math.floor(middle)], to_nought[math.ceil(middle)]
    assert (before + after) / 2 == pytest.approx(1.0, abs=1e-6)


def test_constant_stays_at_the_peak() -> None:
    assert rates(100, kind="constant")[10:] == [2.0] * 90
    assert rates(100, kind="constant", warmup=0) == [2.0] * 100


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("clip", [1e9, 0.5], ids=["no clipping", "clipping"])
def test_the_flat_optimiser_equals_that_of_torch(decay: float, clip: float) -> None:
    shape = Shape("gpt2", depth=2, width=8, heads=2, context=16, vocab=31)
    mine, plain = build(shape, seed=3), build(shape, seed=3)
    flat = FlatAdamW(mine, AdamW(0.9, 0.95, decay))
    embeddings = {id(m.weight) for m in plain.modules() if isinstance(m, nn.Embedding)}
    matrices = [p for p in plain.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in plain.parameters() if p.ndim < 2 or id(p) in embeddings]
    assert len(matrices) == 8
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    generator = torch.manual_seed(0)
    for step in range(6):
        lr = 0.01 * (step + 1)
        for ours, theirs in zip(mine.parameters(), plain.parameters(), strict=True):
            gradient = torch.randn(ours.shape, generator=generator)
            assert ours.grad is not None
            ours.grad += 64 * gradient
            theirs.grad = gradient
        norm = flat.step(lr, scale=64, clip=clip)
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(plain.parameters(), clip)))
        assert (norm > clip) == (clip == 0.5)
        for group in reference.param_groups:
            group["lr"] = lr
        reference.step()
        for ours, theirs in zip(mine.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)
    assert not flat.gradients.any(), "gradients are zero after a step"


def test_a_norm_that_is_not_finite_changes_nothing() -> None:
    model = nn.Linear(3, 2)
    flat = FlatAdamW(model, AdamW(0.9, 0.95, 0.1))
    before = flat.values.clone()
    assert model.weight.grad is not None
    model.weight.grad[0, 0] = float("nan")
    norm = flat.step(0.1, scale=1, clip=1)
    assert not math.isfinite(norm)
    assert torch.equal(flat.values, before)
    assert flat.steps.item() == 0


def test_parameters_stay_views_when_a_state_is_restored() -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    first, second = (FlatAdamW(each, AdamW(0.9, 0.95, 0.1)) for each in (model, other))
    first.restore(second.state())
    assert torch.equal(model.weight, other.weight)
    first.values.zero_()
    assert not model.weight.any()


@pytest.mark.parametrize("starter", [MANAGER, LAUNCHER], ids=["workflow", "launcher"])
def test_an_orphan_knows_that_what_started_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, starter: str
) -> None:
    for name in (MANAGER, LAUNCHER):
        monkeypatch.delenv(name, raising=False)
    assert not orphaned()
    monkeypatch.setenv(starter, manager_identity())
    assert not orphaned()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    monkeypatch.setenv(starter, f"{socket.gethostname()}:{child}")
    assert orphaned()
    for unknown in (f"other-host:{child}", f"{socket.gethostname()}:x", "words"):
        monkeypatch.setenv(starter, unknown)
        assert not orphaned(), "of another machine nothing is known"
