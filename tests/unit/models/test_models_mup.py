"""muP: what changes with width, and that a transformers class without it gives the same losses."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from scalelab.models import LanguageModel, build, export, load_weights
from scalelab.plan.families import Shape
from scalelab.training.optimizer import AdamW, FlatAdamW

BASE = 16


def shape(width: int, base: int = BASE) -> Shape:
    """Two blocks of two heads."""
    return Shape("gpt2", depth=2, width=width, heads=2, context=16, vocab=31, mup_base=base)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets."""
    tokens = torch.randint(31, (4, 17), generator=torch.manual_seed(0))
    return tokens[:, :-1], tokens[:, 1:]


def test_at_the_base_width_it_is_the_standard_parametrisation() -> None:
    plain, mup = build(shape(BASE, 0), seed=1), build(shape(BASE), seed=1)
    for one, other in zip(plain.parameters(), mup.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain(*batch()), mup(*batch()))


@pytest.mark.parametrize("by_hand", [None, torch.float32])
def test_transformers_gives_the_same_losses(by_hand: torch.dtype | None) -> None:
    model, inputs = build(shape(64), seed=1), batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that attention is far from even
    model.by_hand = by_hand
    config, weights = export(model, shape(64))
    theirs = GPT2LMHeadModel(GPT2Config(**config))
    theirs.load_state_dict(weights, strict=False)
    with torch.no_grad():
        logits = theirs.eval()(inputs[0]).logits.flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, inputs[1].flatten(), reduction="sum")
        assert model(*inputs).item() == pytest.approx(expected.item(), rel=1e-5)
    again = build(shape(64), seed=2)
    load_weights(again, shape(64), weights)
    for one, other in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


def coordinates(width: int, base: int, steps: int = 4) -> float:
    """Mean size of the change of the logits after a few steps at one rate (Yang et al. 2022,
    appendix D.1: a coordinate check)."""
    model = build(shape(width, base), seed=3)
    rate = base / width if base else 1.0
    optimizer = FlatAdamW(model, AdamW(0.9, 0.95, 0.0, matrix_rate=rate))
    before = _logits(model)
    for _ in range(steps):
        model(*batch()).backward()
        optimizer.step(0.01, scale=64, clip=1e9)
    return float((_logits(model) - before).abs().mean())


def test_the_logits_move_as_far_at_any_large_width() -> None:
    mup, standard = ([coordinates(w, base) for w in (64, 512)] for base in (BASE, 0))
    assert 0.6 < mup[1] / mup[0] < 1.1, "a limit is reached"
    assert standard[1] / standard[0] > 2, "ever farther without muP"


def _logits(model: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return model.hidden(batch()[0]) @ model.tokens.weight.T
