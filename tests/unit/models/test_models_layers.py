"""The hand-written attention and output head, with their gradients, against plain torch."""

import pytest
import torch
import torch.nn.functional as F

from scalelab.models import layers


def random(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A leaf of standard normal numbers."""
    return torch.randn(*size, generator=torch.manual_seed(sum(size))).to(dtype).requires_grad_()


def plain_attention(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    """What `layers.ShortAttention` stands for, by torch's own function."""
    batch, time, three = qkv.shape
    split = qkv.view(batch, time, 3, heads, three // 3 // heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], is_causal=True)
    return mixed.transpose(1, 2).reshape(batch, time, three // 3)


@pytest.mark.parametrize(
    ("batch", "time", "width", "heads"), [(1, 1, 4, 1), (2, 5, 8, 2), (3, 16, 12, 3), (2, 33, 8, 8)]
)
def test_attention_and_its_gradient_equal_those_of_torch(
    batch: int, time: int, width: int, heads: int
) -> None:
    mine, plain = random(batch, time, 3 * width), random(batch, time, 3 * width)
    weights = torch.randn(batch, time, width, generator=torch.manual_seed(1))
    found = layers.ShortAttention.apply(mine, heads)
    expected = plain_attention(plain, heads)
    assert torch.allclose(found, expected, atol=1e-5)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert mine.grad is not None
    assert plain.grad is not None
    assert torch.allclose(mine.grad, plain.grad, atol=1e-5)


def test_attention_passes_a_numerical_check_of_its_gradient() -> None:
    qkv = random(2, 4, 12, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: layers.ShortAttention.apply(x, 2), (qkv,))


@pytest.mark.parametrize("limit", [0, 1000])
def test_both_paths_of_attention_agree(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(layers, "SHORT_CONTEXT", limit)
    qkv = random(2, 16, 24)
    found = layers.causal_attention(qkv, 2)
    assert torch.allclose(found, plain_attention(qkv, 2), atol=1e-5)


def test_a_mask_made_in_evaluation_serves_training() -> None:
    layers._causal_mask.cache_clear()
    qkv = random(1, 7, 12)
    with torch.inference_mode():
        layers.causal_attention(qkv, 2)
    layers.causal_attention(qkv, 2).sum().backward()
    assert qkv.grad is not None


@pytest.mark.parametrize("rows", [1, 7, 1000], ids=["by row", "ragged chunks", "one chunk"])
@pytest.mark.parametrize("upstream", [1.0, 0.25])
def test_the_head_and_its_gradients_equal_those_of_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, rows: int, upstream: float
) -> None:
    vocab, width = 31, 6
    monkeypatch.setattr(layers, "ROWS_AT_ONCE", rows * vocab)
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
    monkeypatch.setattr(layers, "ROWS_AT_ONCE", rows * vocab)
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
    qkv = random(2, 16, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layers.causal_attention(qkv.to(torch.bfloat16), 2)
    mixed.float().sum().backward()
    assert torch.allclose(mixed.float(), plain_attention(qkv, 2), atol=0.05)
    assert qkv.grad is not None
    assert qkv.grad.isfinite().all()
