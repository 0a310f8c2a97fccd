"""Loss scaling of fp16: when it moves, when it gives up, and that runs with it resume."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.step import FIRST_SCALE, LEAST_SCALE, PATIENCE, LossScale, loss_scale

Spec = Callable[..., dict[str, Any]]
Make = Callable[..., Trainer]


def never() -> bool:
    """The run is not asked to stop."""
    return False


def overflow_at(one: Trainer, steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gradient of some steps (from 0) leave the range of fp16."""
    real = one.stepper._accumulate

    def spoiled(*batch: Any) -> float:
        total = real(*batch)
        if one.done in steps:
            one.optimizer.gradients[3] = math.inf
        return total

    monkeypatch.setattr(one.stepper, "_accumulate", spoiled)


def test_a_scale_is_halved_by_an_overflow_and_doubled_after_good_steps() -> None:
    scale = loss_scale("fp16")
    assert scale.value == FIRST_SCALE == 2.0**16
    assert scale.after(finite=False), "the step is skipped"
    assert (scale.value, scale.good_steps) == (2.0**15, 0)
    for _ in range(PATIENCE - 1):
        assert scale.after(finite=True)
    assert (scale.value, scale.good_steps) == (2.0**15, PATIENCE - 1)
    assert scale.after(finite=True)
    assert (scale.value, scale.good_steps) == (2.0**16, 0)


def test_an_overflow_ends_a_row_of_good_steps() -> None:
    scale = LossScale(8.0, good_steps=PATIENCE - 1, moves=True)
    scale.after(finite=False)
    scale.after(finite=True)
    assert (scale.value, scale.good_steps) == (4.0, 1)


def test_a_scale_gives_up_below_the_least() -> None:
    scale = LossScale(4 * LEAST_SCALE, moves=True)
    assert [scale.after(finite=False) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    scale = loss_scale(precision)
    assert scale.after(finite=True)
    assert not scale.after(finite=False), "a gradient that is not finite is no matter of scale"
    assert (scale.value, scale.good_steps) == (1.0, 0)


def test_a_step_that_overflows_changes_nothing_but_the_scale(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(spec(precision="fp16"))
    one.stepper.scale = LossScale(64.0, moves=True)
    overflow_at(one, {0}, monkeypatch)
    before = one.optimizer.values.clone()
    loss, norm = one.stepper(*one.batches.step(0), 0.01)
    assert loss / 64 == pytest.approx(math.log(257), abs=0.5)
    assert norm == 0
    assert torch.equal(one.optimizer.values, before)
    assert one.optimizer.steps == 0
    assert one.stepper.scale == LossScale(32.0, moves=True)
    assert not one.optimizer.gradients.any()


def test_the_scale_is_not_in_the_gradient(spec: Spec, trainer: Make, tmp_path: Path) -> None:
    norms = []
    for value in (1.0, 1024.0):
        one = trainer(spec(precision="fp16"), folder=tmp_path / str(value))
        one.stepper.scale = LossScale(value, moves=True)
        norms.append(one.stepper(*one.batches.step(0), 0.01)[1])
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)
    exact = trainer(spec(), folder=tmp_path / "exact")
    assert norms[1] == pytest.approx(exact.stepper(*exact.batches.step(0), 0.01)[1], rel=1e-2)


def test_gradients_that_never_fit_end_as_diverged(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case T01: seventeen halvings lead from 2^16 to below 1."""
    one = trainer(spec(precision="fp16"))
    overflow_at(one, {*range(60)}, monkeypatch)
    before = one.optimizer.values.clone()
    outcome = one.run(1e9, never)
    assert (outcome.status, outcome.reason) == ("diverged", "step 17: the gradient is not finite")
    assert outcome.steps == 16
    assert torch.equal(one.optimizer.values, before)


def test_a_run_in_fp16_ends_well_and_resumes_to_the_bit(
    spec: Spec, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = spec(steps=30, precision="fp16")
    straight = trainer(settings, folder=tmp_path / "straight")
    overflow_at(straight, {4}, monkeypatch)
    expected = straight.run(1e9, never)
    assert (expected.status, expected.path.precision) == ("ok", "fp16")
    assert expected.records[4]["grad_norm"] == 0, "skipped, and counted"
    assert expected.records[-1]["loss_nats"] < expected.records[0]["loss_nats"] - 0.5

    one = trainer(settings)
    overflow_at(one, {4}, monkeypatch)
    with pytest.raises(Interrupted):
        one.run(1e9, lambda: one.done >= 10)
    last = trainer(settings)
    outcome = last.run(1e9, never)
    assert outcome.resumed_from == [10]
    assert last.stepper.scale == straight.stepper.scale
    assert last.stepper.scale.value < FIRST_SCALE
    assert torch.equal(last.optimizer.values, straight.optimizer.values)
    assert [line["loss_nats"] for line in outcome.records] == [
        line["loss_nats"] for line in expected.records
    ]
