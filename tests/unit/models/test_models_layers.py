"""The hand-written attention and output head, with their gradients, against plain torch."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.layers import attention, sublayers
from scalelab.models.layers import head as layers


def random(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A leaf of standard normal numbers."""
    return torch.randn(*size, generator=torch.manual_seed(sum(size))).to(dtype).requires_grad_()


def plain_attention(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention of (B, T, 3D) to (B, T, D) by torch's own function."""
    batch, time, three = qkv.shape
    split = qkv.view(batch, time, 3, heads, three // 3 // heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], is_causal=True)
    return mixed.transpose(1, 2).reshape(batch, time, three // 3)


# Heads narrower than 32 and wider ones take other products.
SHAPES = [(1, 1, 4, 1), (2, 5, 8, 2), (3, 16, 12, 3), (2, 33, 8, 8), (2, 9, 80, 2)]


@pytest.mark.parametrize(("batch", "time", "width", "heads"), SHAPES)
def test_attention_and_its_gradient_equal_those_of_torch(
    batch: int, time: int, width: int, heads: int
) -> None:
    qkv, scale = random(batch, time, 3 * width), (width / heads) ** -0.5
    upstream = torch.randn(batch, time, width, generator=torch.manual_seed(1))
    expected = plain_attention(qkv, heads)
    (expected * upstream).sum().backward()
    with torch.no_grad():
        mixed, saved = attention.attend(qkv, heads, scale)
        gradient = attention.attend_backward(upstream, saved)
    assert torch.allclose(mixed.view_as(expected), expected, atol=1e-5)
    assert qkv.grad is not None
    assert torch.allclose(gradient.view_as(qkv), qkv.grad, atol=1e-5)
    assert torch.allclose(attention.causal_attention(qkv, heads, scale), expected, atol=1e-6)


def test_a_mask_made_in_evaluation_serves_training() -> None:
    attention._causal_mask.cache_clear()
    qkv = random(1, 7, 12)
    with torch.inference_mode():
        attention.attend(qkv, 2, 0.5)
    attention.attend(qkv, 2, 0.5)[0].sum().backward()
    assert qkv.grad is not None


def half_block(kind: str, width: int, heads: int, dtype: torch.dtype) -> Any:
    """(function by hand, the same by torch, their parameters) for one half of a block."""
    norm, first = nn.LayerNorm(width), nn.Linear(width, 3 * width if kind == "attention" else 11)
    second = nn.Linear(width if kind == "attention" else 11, width)
    layers = nn.ModuleList([norm, first, second])
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.5, generator=torch.manual_seed(parameter.numel()))
    if kind == "attention":
        scale = (width / heads) ** -0.5

        def by_hand(x: torch.Tensor) -> torch.Tensor:
            return sublayers.attention_half(x, norm, first, second, heads, scale, dtype)

        def by_torch(x: torch.Tensor) -> torch.Tensor:
            return x + second(plain_attention(first(norm(x)), heads))
    else:

        def by_hand(x: torch.Tensor) -> torch.Tensor:
            return sublayers.mlp_half(x, norm, first, second, dtype)

        def by_torch(x: torch.Tensor) -> torch.Tensor:
            return x + second(F.gelu(first(norm(x)), approximate="tanh"))

    return by_hand, by_torch, layers


@pytest.mark.parametrize("kind", ["attention", "mlp"])
@pytest.mark.parametrize(("batch", "time", "width", "heads"), SHAPES)
def test_half_a_block_and_all_its_gradients_equal_those_of_torch(
    kind: str, batch: int, time: int, width: int, heads: int
) -> None:
    by_hand, by_torch, layers = half_block(kind, width, heads, torch.float32)
    upstream = torch.randn(batch, time, width, generator=torch.manual_seed(1))
    found = []
    for function in (by_hand, by_torch):
        x = random(batch, time, width)
        layers.zero_grad()
        out = function(x)
        (out * upstream).sum().backward()
        found.append([out, x.grad, *(parameter.grad for parameter in layers.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(
            ours, theirs, rtol=1e-4, atol=1e-4 * theirs.detach().abs().max().item()
        )


@pytest.mark.parametrize("kind", ["attention", "mlp"])
def test_half_a_block_in_bf16_is_near_and_its_gradients_are_fp32(kind: str) -> None:
    by_hand, by_torch, layers = half_block(kind, 16, 2, torch.bfloat16)
    x, same = random(2, 5, 16), random(2, 5, 16)
    out, exact = by_hand(x), by_torch(same)
    assert out.dtype == torch.float32
    assert torch.allclose(out, exact, atol=0.1) and not torch.equal(out, exact)
    out.sum().backward()
    assert {parameter.grad.dtype for parameter in layers.parameters()} == {torch.float32}


@pytest.mark.parametrize("at_once", [1, 7, 2**16])
def test_gelu_and_its_derivative_equal_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(sublayers, "AT_ONCE", at_once)
    x = torch.tensor([[-40.0, -5.0, -1.0, -1e-3, 0.0], [1e-3, 0.5, 1.0, 5.0, 40.0]])
    value, derivative = sublayers.gelu(x)
    leaf = x.clone().requires_grad_()
    expected = F.gelu(leaf, approximate="tanh")
    expected.sum().backward()
    assert torch.allclose(value, expected, atol=1e-6)
    assert leaf.grad is not None
    assert torch.allclose(derivative, leaf.grad, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 1000], ids=["by row", "ragged chunks", "one chunk"])
@pytest.mark.parametrize("upstream", [1.0, 0.25])
def test_the_head_and_its_gradients_equal_those_of_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, rows: int, upstream: float
) -> None:
    vocab, width = 31, 6
    monkeypatch.setitem(layers.LOGITS_AT_ONCE, "cpu", rows * vocab)
    hidden, head = random(4, 5, width), random(vocab, width)
    plain_hidden, plain_head = (
        hidden.detach().clone().requires_grad_(),
        head.detach().clone().requires_grad_(),
    )
    targets = torch.randint(vocab, (4, 5), generator=torch.manual_seed(2))
    found = layers.head_loss(hidden, head, targets, torch.float32)
    expected = F.cross_entropy(
        (plain_hidden @ plain_head.T).flatten(0, 1), targets.flatten(), reduction="sum"
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    (found * upstream).backward()
    (expected * upstream).backward()
    for mine, plain in ((hidden, plain_hidden), (head, plain_head)):
        assert mine.grad is not None
        assert plain.grad is not None
        assert torch.allclose(mine.grad, plain.grad, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_losses_by_token_equal_those_of_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    vocab, width = 31, 6
    monkeypatch.setitem(layers.LOGITS_AT_ONCE, "cpu", rows * vocab)
    hidden, head = random(4, 5, width).detach(), random(vocab, width).detach()
    targets = torch.randint(vocab, (4, 5), generator=torch.manual_seed(2))
    expected = F.cross_entropy(
        (hidden @ head.T).flatten(0, 1), targets.flatten(), reduction="none"
    ).view(4, 5)
    assert torch.allclose(layers.head_losses(hidden, head, targets), expected, atol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    hidden, head = torch.tensor([[[1000.0, 0.0]]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    right, wrong = (
        layers.head_losses(hidden, head, torch.tensor([[index]])).item() for index in (0, 1)
    )
    assert right == 0
    assert wrong == 2000


def test_a_frozen_side_of_the_head_gets_no_gradient() -> None:
    hidden, head = random(1, 3, 4), random(5, 4).detach()
    targets = torch.tensor([[0, 1, 2]])
    layers.head_loss(hidden, head, targets, torch.float32).backward()
    assert hidden.grad is not None
    assert head.grad is None


def test_bf16_is_near_fp32() -> None:
    hidden, head = random(8, 16, 16), random(64, 16)
    targets = torch.randint(64, (8, 16), generator=torch.manual_seed(2))
    exact = layers.head_loss(hidden, head, targets, torch.float32)
    rough = layers.head_loss(hidden, head, targets, torch.bfloat16)
    assert rough.item() == pytest.approx(exact.item(), rel=1e-2)
    assert rough.item() != exact.item()


def test_a_target_of_next_to_no_probability_has_its_exact_loss() -> None:
    hidden, head = torch.tensor([[[100.0, 0.0]]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    target = torch.tensor([[1]])
    leaf = hidden.clone().requires_grad_()
    loss = layers.head_loss(leaf, head, target, torch.float32)
    assert loss.item() == 200
    loss.backward()
    assert leaf.grad is not None
    assert leaf.grad[0, 0].tolist() == [2.0, 0.0]
