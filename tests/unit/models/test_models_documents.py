"""Attention within documents: what is packed before a document changes nothing in it."""

from dataclasses import replace

import pytest
import torch

from scalelab.errors import UserError
from scalelab.models import attend_to, build, registry
from scalelab.models.families.gpt2 import GPT2
from scalelab.models.layers.attention import attend, attend_backward, causal_attention
from scalelab.models.layers.documents import restarts
from scalelab.plan.families import Shape

SHAPE = Shape("gpt2", depth=2, width=16, heads=2, context=32, vocab=50)
PATHS = [None, torch.float32]


def model_of(by_hand: torch.dtype | None, shape: Shape = SHAPE) -> GPT2:
    """A model whose weights are large enough for attention to matter."""
    model = build(shape, seed=1)
    assert isinstance(model, GPT2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.by_hand = by_hand
    return model


def text(length: int, seed: int) -> torch.Tensor:
    """A document: a separator (id 0) and random ids."""
    ids = torch.randint(1, 50, (length,), generator=torch.manual_seed(seed))
    ids[0] = 0
    return ids


def test_positions_and_sight_begin_anew_at_a_separator() -> None:
    inputs = torch.tensor([[7, 8, 0, 5, 6, 0, 0, 9]])
    positions, seen = restarts(inputs, 0)
    assert positions.tolist() == [[0, 1, 0, 1, 2, 0, 0, 1]]
    document = [0, 0, 1, 1, 1, 2, 3, 3]
    for i in range(8):
        for j in range(8):
            assert bool(seen[0, i, j]) == (j <= i and document[i] == document[j])


@pytest.mark.parametrize("by_hand", PATHS)
@pytest.mark.parametrize("width", [16, 80])  # heads narrower than 32 and wider ones
def test_a_document_does_not_depend_on_what_is_packed_before_it(
    by_hand: torch.dtype | None, width: int
) -> None:
    model = model_of(by_hand, replace(SHAPE, width=width))
    attend_to(model, "gpt2", "documents", separator=0)
    document = text(12, seed=3)
    with torch.no_grad():
        alone = model.hidden(document[None])[0]
        for before in ([text(9, 4)], [text(5, 5), text(8, 6)], [text(9, 7)[3:]]):
            packed = torch.cat([*before, document])
            found = model.hidden(packed[None])[0][-len(document) :]
            assert torch.allclose(found, alone, atol=2e-6)
            logits = found @ model.tokens.weight.T
            assert torch.allclose(logits, alone @ model.tokens.weight.T, atol=2e-5)
        model.separator = None
        stream = model.hidden(packed[None])[0][-len(document) :]
    assert not torch.allclose(stream, alone, atol=1e-2), "in a stream it does"


@pytest.mark.parametrize("by_hand", PATHS)
def test_a_stream_is_computed_as_it_always_was_to_the_bit(by_hand: torch.dtype | None) -> None:
    """Separators in a text are tokens like others there: the blocks get neither mask nor places."""
    model, inputs = model_of(by_hand), torch.stack([text(32, 8), text(32, 9)])
    attend_to(model, "gpt2", "stream", separator=0)
    with torch.no_grad():
        x = model.tokens(inputs) + model.positions.weight[:32]
        for block in model.blocks:
            x = block(x, by_hand)
        assert torch.equal(model.hidden(inputs), model.norm(x))


@pytest.mark.parametrize("by_hand", PATHS)
def test_a_text_without_a_separator_is_one_document(by_hand: torch.dtype | None) -> None:
    inputs = torch.stack([text(32, seed)[1:] for seed in (8, 9)])
    targets = inputs.roll(-1, 1)
    found = []
    for attention in ("stream", "documents"):
        model = model_of(by_hand)
        attend_to(model, "gpt2", attention, separator=0)
        loss = model(inputs, targets)
        loss.backward()
        found.append((loss.item(), [parameter.grad for parameter in model.parameters()]))
    (stream, gradients), (documents, others) = found
    assert documents == pytest.approx(stream, rel=1e-6)
    for one, other in zip(gradients, others, strict=True):
        assert (one - other).norm() <= 2e-5 * one.norm()  # type: ignore[operator, union-attr]


def test_both_ways_of_computing_agree_with_their_gradients() -> None:
    inputs = torch.stack([torch.cat([text(n, n), text(32 - n, n + 1)]) for n in (5, 20)])
    targets = inputs.roll(-1, 1)
    found = []
    for by_hand in PATHS:
        model = model_of(by_hand)
        attend_to(model, "gpt2", "documents", separator=0)
        loss = model(inputs, targets)
        loss.backward()
        found.append((loss.item(), [parameter.grad for parameter in model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one - other).norm() <= 2e-5 * one.norm()  # type: ignore[operator, union-attr]


def test_attention_over_a_mask_equals_that_of_torch() -> None:
    _, seen = restarts(torch.tensor([[0, 1, 2, 0, 1, 2, 0], [3, 0, 1, 1, 1, 1, 1]]), 0)
    qkv = torch.randn(2, 7, 24, generator=torch.manual_seed(2)).requires_grad_()
    upstream = torch.randn(2, 7, 8, generator=torch.manual_seed(3))
    expected = causal_attention(qkv, 2, 0.5, seen)
    (expected * upstream).sum().backward()
    with torch.no_grad():
        mixed, saved = attend(qkv, 2, 0.5, seen)
        gradient = attend_backward(upstream, saved)
    assert torch.allclose(mixed.view_as(expected), expected, atol=1e-6)
    assert torch.allclose(gradient.view_as(qkv), qkv.grad, atol=1e-5)  # type: ignore[arg-type]


def test_a_family_that_cannot_do_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(None)
    other = replace(registry.get("gpt2"), documents=False)
    monkeypatch.setitem(registry.FAMILIES, "gpt2", other)
    attend_to(model, "gpt2", "stream", separator=0)
    assert model.separator is None
    with pytest.raises(UserError, match=r"attention: found documents, which the family gpt2"):
        attend_to(model, "gpt2", "documents", separator=0)
