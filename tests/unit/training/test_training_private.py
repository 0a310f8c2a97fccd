"""DP-SGD: gradients by sequence, noise, draws, the budget, and runs that go on where they were."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import norm

from scalelab.errors import UserError
from scalelab.evaluation.collect import row
from scalelab.models import build, registry
from scalelab.plan.families import OF_TRANSFORMERS, Shape, count, objective
from scalelab.plan.objectives import CAUSAL
from scalelab.training.batches import Batches, Drawn
from scalelab.training.budget import Budget, budget_of
from scalelab.training.distributed import ALONE, World
from scalelab.training.loop import Interrupted
from scalelab.training.optimizer import AdamW, FlatAdamW, ordered
from scalelab.training.paths import ComputePath
from scalelab.training.private import PrivateStepper
from scalelab.training.run import train
from scalelab.training.step import Stepper

Spec = Callable[..., dict[str, Any]]
DENSE = [
    name
    for name in registry.names()
    if name != OF_TRANSFORMERS
    and objective(name) is CAUSAL
    and not count(Shape(family=name, depth=2, width=16, heads=2, context=16, vocab=20)).idle
]
INPUTS = torch.randint(0, 20, (5, 16), generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, 20, (5, 16), generator=torch.Generator().manual_seed(1))


class Kept(FlatAdamW):
    """Keeps the gradient that a step is given."""

    given: torch.Tensor

    def step(self, lr: float, scale: float, clip: float, world: World = ALONE) -> float:
        """The same step."""
        self.given = self.gradients / scale
        return super().step(lr, scale, clip, world)


def stepper(
    clip: float = math.inf,
    noise: float = 0.0,
    family: str = "gpt2",
    sequences: int = 5,
    precision: str = "fp32",
    separator: int | None = None,
    world: World = ALONE,
) -> PrivateStepper:
    model = build(Shape(family=family, depth=2, width=16, heads=2, context=16, vocab=20), 1)
    model.separator = separator
    with torch.no_grad():
        model.tokens.weight *= 10  # type: ignore[operator, union-attr]
    optimizer = Kept(model, AdamW(0.9, 0.99, 0.1))
    path = ComputePath(precision, by_hand=False)
    path.apply(model)
    return PrivateStepper(
        *(model, optimizer, path, world, 2, 1.0, lambda _: None),
        budget=Budget(8.0, 1e-6, noise, clip, 0.1, 10),
        sequences=sequences,
        seed=3,
        before=lambda: 7.0,
    )


def plain(one: PrivateStepper, rows: slice) -> torch.Tensor:
    """The gradient of the mean loss of some sequences, by the model's own loss, flat."""
    tokens = TARGETS[rows].numel()
    loss = one.model(INPUTS[rows], TARGETS[rows]) / tokens
    parts = torch.autograd.grad(loss, ordered(one.model)[0])  # type: ignore[arg-type]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("separator", [None, 3])
@pytest.mark.parametrize("family", DENSE)
def test_each_sequence_is_clipped_as_if_it_were_alone(family: str, separator: int | None) -> None:
    one = stepper(family=family, separator=separator)
    apart = torch.stack([plain(one, slice(place, place + 1)) for place in range(5)])
    norms = apart.norm(dim=1)
    clip = float(norms.median())
    expected = (apart * (clip / norms).clamp(max=1)[:, None]).sum(0) / 5
    again = stepper(clip, family=family, separator=separator)
    again(INPUTS, TARGETS, 0.0)
    torch.testing.assert_close(again.optimizer.given, expected, rtol=1e-5, atol=1e-6)
    assert norms.max() > 1.01 * clip, "some are clipped and some are not"


def test_without_noise_or_clipping_it_is_the_step_of_any_run() -> None:
    one, other = stepper(1e6), stepper(1e6)
    ordinary = Stepper(other.model, other.optimizer, other.path, ALONE, 2, 1.0, lambda _: None)
    loss, size = one(INPUTS, TARGETS, 1e-2)
    wanted, norm_of_it = ordinary(INPUTS, TARGETS, 1e-2)
    assert (loss, size) == pytest.approx((wanted, norm_of_it), rel=1e-5)
    torch.testing.assert_close(
        one.optimizer.given, other.optimizer.given, rtol=1e-5, atol=1e-7 * size
    )
    assert one(INPUTS, TARGETS, 1e-2)[0] == pytest.approx(
        ordinary(INPUTS, TARGETS, 1e-2)[0], rel=1e-4
    )


def test_products_in_16_bits_are_clipped_as_exactly() -> None:
    one = stepper(0.01, precision="bf16")
    one(INPUTS[:1], TARGETS[:1], 0.0)
    assert float(one.optimizer.given.norm()) * 5 == pytest.approx(0.01, rel=1e-4)


def test_the_noise_is_that_of_the_budget_and_of_the_step() -> None:
    """A step without a sequence is noise alone: sigma C over the sequences of an average step."""
    one = stepper(clip=0.5, noise=3.0, sequences=4)
    found = []
    for _ in range(2):
        loss, size = one(INPUTS[:0], TARGETS[:0], 0.0)
        assert loss == 7.0, "the loss of the step before"
        assert size == pytest.approx(float(one.optimizer.given.norm()), rel=1e-4)
        found.append(one.optimizer.given.clone())
    n = len(found[0])
    for noise in found:
        assert float(noise.std()) == pytest.approx(3 * 0.5 / 4, rel=4 / math.sqrt(2 * n))
        assert abs(float(noise.mean())) < 4 * 3 * 0.5 / 4 / math.sqrt(n)
    correlation = float(torch.corrcoef(torch.stack(found))[0, 1])
    assert abs(correlation) < 4 / math.sqrt(n), "each step has its own"
    again = stepper(clip=0.5, noise=3.0, sequences=4)
    again.optimizer.steps += 1
    again(INPUTS[:0], TARGETS[:0], 0.0)
    assert torch.equal(again.optimizer.given, found[1]), "which does not depend on those before"


def test_of_several_processes_one_adds_the_noise() -> None:
    class Second(World):
        """Of two processes, whose sums are not taken."""

        def add(self, flat: torch.Tensor) -> None: ...

        def total(self, values: Any) -> list[float]:
            return list(values)

    one = stepper(clip=1.0, noise=3.0, world=Second(rank=1, size=2))
    one(INPUTS[:0], TARGETS[:0], 0.0)
    assert not one.optimizer.given.any()


def test_the_loss_is_told_as_that_of_a_step_of_average_size() -> None:
    one = stepper(clip=1.0, sequences=20)
    with torch.no_grad():
        wanted = float(one.model(INPUTS, TARGETS)) * 20 / 5  # type: ignore[arg-type]
    assert one(INPUTS, TARGETS, 0.0)[0] == pytest.approx(wanted, rel=1e-5)


def test_a_sparse_family_is_one_sentence() -> None:
    with pytest.raises(UserError, match="penalty over a whole batch"):
        stepper(family="moe").apart(INPUTS)


TOKENS = np.arange(10_001, dtype=np.uint16)


def test_each_block_joins_each_step_by_itself() -> None:
    batches = Drawn(TOKENS, 10, 400, 3)
    drawn = [(batches.step(k)[0][:, 0] // 10).tolist() for k in range(500)]
    sizes = np.array([*map(len, drawn)])
    assert all(len({*one}) == len(one) for one in drawn), "no block twice in a step"
    assert sizes.mean() == pytest.approx(40, abs=4 * math.sqrt(38.4 / 500))
    assert sizes.var() == pytest.approx(38.4, rel=4 * math.sqrt(2 / 500)), "binomial: n q (1 - q)"
    seen = np.bincount(np.concatenate(drawn), minlength=1000)
    assert seen.var() == pytest.approx(500 * 0.04 * 0.96, rel=4 * math.sqrt(2 / 1000))
    again = Drawn(TOKENS, 10, 400, 3)
    assert torch.equal(again.step(7)[1], batches.step(7)[1]), "what resuming needs"
    assert torch.equal(again.step(7)[0][:, 1:], again.step(7)[1][:, :-1])


def test_what_was_drawn_is_told_from_what_was_not() -> None:
    batches = Drawn(TOKENS, 10, 400, 3, unique_tokens=2000)
    few = Batches(TOKENS, 10, 400, 3, unique_tokens=2000)
    assert set(batches.pool) == set(few.order[:200])
    views = np.zeros(1001, dtype=int)
    for step in range(5):
        np.add.at(views, batches.step(step)[0][:, 0].numpy() // 10, 1)
    assert (batches.views(200) == views).all(), "200 blocks are five steps of 40 on average"
    met, others = batches.parted(200)
    assert set(met) == set(np.flatnonzero(views)) and len(met) + len(others) == 1000
    assert [len(part) for part in few.parted(120)] == [120, 880]


def recipe(epsilon: float, delta: float, steps: int) -> dict[str, Any]:
    return {"dp": {"epsilon": epsilon, "delta": delta, "clip": 1.0}, "steps": steps}


def test_a_step_that_sees_all_is_the_gaussian_mechanism() -> None:
    """Balle and Wang 2018 (arXiv:1805.06530, theorem 8): delta of epsilon exactly, where no step
    leaves a sequence to chance; T steps are one with sqrt(T) / sigma."""
    found = budget_of(recipe(2.0, 1e-5, 40), 100, 100)
    assert found is not None and found.rate == 1
    mu = math.sqrt(40) / found.noise

    def delta(epsilon: float) -> float:
        return float(
            norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        )

    assert delta(found.epsilon) <= 1e-5 < delta(0.97 * found.epsilon)
    assert 1.97 < found.epsilon <= 2


def test_the_accountant_agrees_with_what_abadi_et_al_published() -> None:
    """q = 0.01, sigma = 4, 10,000 steps, delta = 1e-5: epsilon 1.26 by the moments accountant
    (section 3.2 there), which later ways of counting come below."""
    from opacus.accountants.analysis.rdp import compute_rdp

    orders = np.arange(2, 64)
    moments = compute_rdp(q=0.01, noise_multiplier=4.0, steps=10_000, orders=orders)
    published = float(np.min(moments + math.log(1e5) / (orders - 1)))
    assert published == pytest.approx(1.26, abs=0.01)
    found = budget_of(recipe(published, 1e-5, 10_000), 10, 1000)
    assert found is not None and 3.0 < found.noise < 4.0
    assert 0.98 * published < found.epsilon <= published


def test_no_budget_and_none_that_can_be_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert budget_of({"steps": 10}, 4, 100) is None
    with pytest.raises(UserError, match="expected less than 1/1,000,000"):
        budget_of(recipe(8, 1e-6, 10), 4, 1_000_000)
    timed = {"dp": {**recipe(8, 1e-6, 10)["dp"], "noise": 1.0}, "steps": 10}
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    found = budget_of(timed, 4, 100)
    assert found is not None and found.noise == 1 and found.epsilon == math.inf
    with pytest.raises(UserError, match=r"pip install 'scalelab\[privacy\]'"):
        budget_of(recipe(8, 1e-6, 10), 4, 100)


def test_a_run_tells_its_budget_and_goes_on_where_it_was(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    asked = spec(steps=20)
    asked["training"]["dp"] = {"epsilon": 8.0, "delta": 1e-5, "clip": 0.5}
    whole = train(asked, corpus_folder, tmp_path / "a", 1, lambda _: None)
    told = whole["privacy"]
    blocks = round(4 / told["sampling_rate"])
    assert whole["status"] == "ok" and 2000 < blocks < 3000 and 7.9 < told["epsilon"] <= 8
    assert told["unit"].startswith("one sequence of 17 tokens") and told["clip"] == 0.5
    assert whole["gradients_by_hand"] is False and whole["D"] == 20 * 64
    scores = {key: 1.0 for key in ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte")}
    settings = {"split": "test", "context": 16, "stride": 16}
    cells = row("one", whole, {**scores, "settings": settings})
    assert cells["privacy_noise_multiplier"] == told["noise_multiplier"] > 0.2
    asked_again = iter([False] * 9 + [True] * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scalelab.training.loop.orphaned", lambda: next(asked_again))
        patch.setattr("scalelab.training.loop.ORPHAN_SECONDS", 0)
        with pytest.raises(Interrupted):
            train(asked, corpus_folder, tmp_path / "b", 1, lambda _: None)
    again = train(asked, corpus_folder, tmp_path / "b", 1, lambda _: None)
    assert again["resumed_from"] and again["train_loss_nats"] == whole["train_loss_nats"]
    first, second = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in "ab"
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
