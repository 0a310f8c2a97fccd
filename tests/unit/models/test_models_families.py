"""Every causal family: counts, FLOPs, loss, export; formulas against the built module."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalelab.errors import UserError
from scalelab.models import build, export, load_weights, registry
from scalelab.plan import families
from scalelab.plan.families import Shape, count
from scalelab.plan.objectives import CAUSAL

FAMILIES = [name for name in registry.names() if families.objective(name) is CAUSAL]


def shape_of(family: str, context: int = 16, vocab: int = 257) -> Shape:
    """A tiny shape of a family."""
    return Shape(family, depth=2, width=8, heads=2, context=context, vocab=vocab)


def batch(shape: Shape, sequences: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs and targets at full context."""
    ids = torch.randint(shape.vocab, (2, sequences, shape.context), generator=torch.manual_seed(0))
    return ids[0], ids[1]


def test_planning_and_training_know_the_same_families() -> None:
    assert families.names() == registry.names()
    assert "gpt2" in FAMILIES


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UserError, match=r"found 'gpt9', expected one of \['bert', 'gpt2'"):
        registry.get("gpt9")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("context", "vocab"), [(16, 257), (24, 300)])
def test_counts_are_those_of_the_built_module(family: str, context: int, vocab: int) -> None:
    shape = shape_of(family, context, vocab)
    model = build(shape, seed=0)
    embeddings = {
        id(module.weight): "tokens" if module.num_embeddings == vocab else "positions"
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    }
    groups = {"tokens": 0, "positions": 0, "head": 0, "rest": 0}
    for parameter in model.parameters():
        other = "head" if parameter.shape[0] == vocab else "rest"
        groups[embeddings.get(id(parameter), other)] += parameter.numel()
    counts = count(shape)
    assert counts.token_embedding == groups["tokens"]
    assert counts.position_embedding == groups["positions"]
    assert counts.head == groups["head"]
    assert counts.blocks == groups["rest"] == counts.n
    assert counts.n_total == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_are_those_that_torch_counts(family: str) -> None:
    shape = shape_of(family)
    counts = count(shape)
    model = build(shape, seed=0)
    inputs, targets = batch(shape)
    # torch counts plain products of matrices, not its own fused attention on a processor: a family
    # that knows no gradients by hand takes them as well.
    model.by_hand = torch.float32
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward, torch.no_grad():
        model.losses(inputs, targets)
    assert forward.get_total_flops() == inputs.numel() * (
        counts.matmul_flops + counts.attention_flops
    )
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as both:
        model(inputs, targets).backward()
    assert both.get_total_flops() == inputs.numel() * counts.training_flops
    assert both.get_total_flops() == 3 * forward.get_total_flops()


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_give_equal_weights(family: str) -> None:
    shape = shape_of(family)
    first, same, other = (build(shape, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untrained_model_is_near_the_uniform_loss(family: str) -> None:
    shape = shape_of(family)
    inputs, targets = batch(shape, sequences=40)
    loss = build(shape, seed=0)(inputs, targets).item() / targets.numel()
    assert abs(loss - math.log(shape.vocab)) < 0.5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("vocab", [256, 50257, 50304])
def test_zero_weights_score_the_logarithm_of_the_vocabulary(family: str, vocab: int) -> None:
    shape = shape_of(family, vocab=vocab)
    model = build(shape, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    inputs, targets = batch(shape)
    expected = math.log(vocab)
    assert {256: 5.545177, 50257: 10.824905, 50304: 10.825840}[vocab] == round(expected, 6)
    losses = model.losses(inputs, targets)
    assert losses.shape == targets.shape
    assert torch.allclose(losses, torch.full_like(losses, expected), atol=1e-5)
    assert model(inputs, targets).item() / targets.numel() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sum_is_the_sum_of_the_losses_by_token(family: str) -> None:
    shape = shape_of(family)
    model = build(shape, seed=0)
    inputs, targets = batch(shape)
    losses = model.losses(inputs, targets)
    assert model(inputs, targets).item() == pytest.approx(losses.sum().item(), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_token_sees_what_comes_after_it(family: str) -> None:
    shape = shape_of(family)
    model = build(shape, seed=0)
    inputs, targets = batch(shape)
    before = model.losses(inputs, targets)
    changed = inputs.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % shape.vocab
    after = model.losses(changed, targets)
    assert torch.allclose(before[:, :9], after[:, :9], atol=1e-6)
    assert not torch.allclose(before[:, 9:], after[:, 9:], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_come_back_from_an_export(family: str) -> None:
    shape = shape_of(family)
    model, other = build(shape, seed=1), build(shape, seed=2)
    _, weights = export(model, shape)
    load_weights(other, shape, weights)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    stored = {name: tensor.data_ptr() for name, tensor in weights.items()}
    assert len(set(stored.values())) == len(stored), "no two weights share memory"
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert sum(tensor.numel() for tensor in weights.values()) == count(shape).n_total


@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_that_is_missing_or_of_another_shape_is_named(family: str) -> None:
    shape = shape_of(family)
    model = build(shape, seed=1)
    _, weights = export(model, shape)
    name = sorted(weights)[0]
    with pytest.raises(UserError, match=f"weight {name}: missing"):
        load_weights(model, shape, {key: weights[key] for key in weights if key != name})
    with pytest.raises(UserError, match=rf"weight {name}: of shape \(3,\)"):
        load_weights(model, shape, {**weights, name: torch.zeros(3)})


def test_more_tokens_than_positions_are_refused_with_both_numbers() -> None:
    """Case T25."""
    model = build(shape_of("gpt2"), seed=0)
    inputs = torch.zeros((1, 17), dtype=torch.int64)
    with pytest.raises(ValueError, match=r"17 tokens.*16"):
        model.losses(inputs, inputs)


def test_no_model_says_anything_on_stderr() -> None:
    """Case H06: GPT-2's shape with d = 128 and 4 layers, and one of every family, with labels."""
    program = """
import torch
from scalelab.models import build, registry
from scalelab.plan.families import Shape, count
shape = Shape("gpt2", depth=4, width=128, heads=4, context=256, vocab=50257)
print(count(shape).n_total)
small = [Shape(name, 1, 16, 2, 16, 61) for name in (*registry.names(), "hf:gpt_neox")]
for each in (shape, *small):
    ids = torch.zeros((1, each.context), dtype=torch.int64)
    assert build(each, seed=0)(ids, ids).item() > 0
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], env=env, capture_output=True, text=True
    )
    assert (done.stdout.split(), done.stderr) == (["7259008"], "")
