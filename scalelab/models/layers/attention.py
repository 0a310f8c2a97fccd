"""Causal attention (Vaswani et al. 2017, eq. 1) as batched products, forward and backward.

Shape suffixes: B sequences, T tokens, D width, H heads, K width of a head, X = B H.
"""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F

NARROW = 32
"""Width of a head below which products that give (K, T) are quicker than those that give (T, K):
MKL's kernels waste most of their lanes on few columns."""


@dataclass(frozen=True)
class Attended:
    """What the gradient needs: queries, keys and values (3, X, T, K), weights (X, T, T)."""

    qkv: torch.Tensor
    weights: torch.Tensor
    heads: int
    scale: float


def attend(
    qkv_BT3D: torch.Tensor, heads: int, scale: float, seen_BTT: torch.Tensor | None = None
) -> tuple[torch.Tensor, Attended]:
    """Queries, keys and values side by side to the mixed values (R, D); scale times q k'.

    seen: which tokens see which, those after them never; None: all before them.
    """
    batch, time, three = qkv_BT3D.shape
    head = three // 3 // heads
    qkv = qkv_BT3D.view(batch, time, 3, heads, head).permute(2, 0, 3, 1, 4)
    qkv = qkv.reshape(3, batch * heads, time, head)
    q, k, v = qkv.unbind(0)
    mask = _causal_mask(time, q.dtype) if seen_BTT is None else _mask(seen_BTT, heads, q.dtype)
    weights = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale), -1)
    if head < NARROW:
        mixed = torch.bmm(v.transpose(1, 2), weights.transpose(1, 2))
        mixed = mixed.view(batch, heads, head, time).permute(0, 3, 1, 2)
    else:
        mixed = torch.bmm(weights, v).view(batch, heads, time, head).transpose(1, 2)
    return mixed.reshape(-1, three // 3), Attended(qkv, weights, heads, scale)


def attend_backward(grad_BTD: torch.Tensor, saved: Attended) -> torch.Tensor:
    """Gradient by the input of `attend`, (R, 3D), from that by its output."""
    batch, time, width = grad_BTD.shape
    heads, head = saved.heads, width // saved.heads
    q, k, v = saved.qkv.unbind(0)
    grad = grad_BTD.view(batch, time, heads, head).transpose(1, 2)
    grad = grad.reshape(batch * heads, time, head)
    scores = torch._softmax_backward_data(
        torch.bmm(grad, v.transpose(1, 2)), saved.weights, -1, saved.weights.dtype
    )
    if head < NARROW:
        out = torch.empty(3, batch * heads, head, time, dtype=grad.dtype)
        torch.bmm(k.transpose(1, 2), scores.transpose(1, 2), out=out[0])
        torch.bmm(q.transpose(1, 2), scores, out=out[1])
        torch.bmm(grad.transpose(1, 2), saved.weights, out=out[2])
        out[:2].mul_(saved.scale)
        out = out.view(3, batch, heads, head, time).permute(1, 4, 0, 2, 3)
    else:
        out = torch.empty_like(saved.qkv)
        torch.bmm(scores, k, out=out[0])
        torch.bmm(scores.transpose(1, 2), q, out=out[1])
        torch.bmm(saved.weights.transpose(1, 2), grad, out=out[2])
        out[:2].mul_(saved.scale)
        out = out.view(3, batch, heads, time, head).permute(1, 3, 0, 2, 4)
    return out.reshape(-1, 3 * width)


@functools.lru_cache(maxsize=8)
def _causal_mask(time: int, dtype: torch.dtype) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.full((time, time), float("-inf"), dtype=dtype).triu_(1)


def _mask(seen_BTT: torch.Tensor, heads: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores, (X, T, T): 0 where a token is seen."""
    mask = torch.zeros(seen_BTT.shape, dtype=dtype, device=seen_BTT.device)
    return mask.masked_fill_(~seen_BTT, float("-inf")).repeat_interleave(heads, 0)


def causal_attention(
    qkv_BT3D: torch.Tensor, heads: int, scale: float, seen_BTT: torch.Tensor | None = None
) -> torch.Tensor:
    """Causal multi-head attention of (B, T, 3D) to (B, T, D), differentiable by torch itself.

    seen: which tokens see which, those after them never; None: all before them.
    """
    batch, time, three = qkv_BT3D.shape
    qkv = qkv_BT3D.view(batch, time, 3, heads, three // 3 // heads).permute(2, 0, 3, 1, 4)
    if seen_BTT is None:
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True, scale=scale)
    else:
        seen = seen_BTT[:, None]
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=seen, scale=scale)
    return mixed.transpose(1, 2).reshape(batch, time, three // 3)
