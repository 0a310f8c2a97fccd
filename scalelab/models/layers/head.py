"""Layers that several families share, written so that few passes over memory remain.

Shape suffixes: B sequences, T tokens, D width, H heads, K width of a head, V vocabulary, R = B T.
"""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

SHORT_CONTEXT = 256
"""Up to here, on a CPU, attention as batched products beats the fused kernel (measured with 2 and 4
heads at T = 128: 5 to 25% of a whole step)."""

ROWS_AT_ONCE = 2**21
"""Logits held at once by the output head (8 MiB in fp32), so that they stay in the cache."""


class ShortAttention(torch.autograd.Function):
    """Causal attention (Vaswani et al. 2017, eq. 1) as batched products over (B H, T, K)."""

    @staticmethod
    def forward(ctx: Any, qkv_BT3D: torch.Tensor, heads: int) -> torch.Tensor:
        """Queries, keys and values side by side, (B, T, 3D), to the mixed values, (B, T, D)."""
        batch, time, three = qkv_BT3D.shape
        width, head = three // 3, three // 3 // heads
        qkv = qkv_BT3D.view(batch, time, 3, heads, head).permute(2, 0, 3, 1, 4)
        qkv = qkv.reshape(3, batch * heads, time, head)
        q, k, v = qkv.unbind(0)
        scale = 1 / math.sqrt(head)
        mask = _causal_mask(time, q.dtype)
        weights = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale), -1)
        ctx.save_for_backward(qkv, weights)
        ctx.heads, ctx.scale = heads, scale
        mixed = torch.bmm(weights, v).view(batch, heads, time, head)
        return mixed.transpose(1, 2).reshape(batch, time, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Gradient with regard to the input, (B, T, 3D)."""
        qkv, weights = ctx.saved_tensors
        q, k, v = qkv.unbind(0)
        batch, time, width = grad_BTD.shape
        heads, head = ctx.heads, width // ctx.heads
        grad = grad_BTD.view(batch, time, heads, head).transpose(1, 2)
        grad = grad.reshape(batch * heads, time, head)
        out = torch.empty_like(qkv)
        torch.bmm(weights.transpose(1, 2), grad, out=out[2])
        scores = torch._softmax_backward_data(
            torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype
        )
        torch.bmm(scores, k, out=out[0]).mul_(ctx.scale)
        torch.bmm(scores.transpose(1, 2), q, out=out[1]).mul_(ctx.scale)
        out = out.view(3, batch, heads, time, head).permute(1, 3, 0, 2, 4)
        return out.reshape(batch, time, 3 * width), None


@functools.lru_cache(maxsize=8)
def _causal_mask(time: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((time, time), float("-inf"), dtype=dtype).triu_(1)


def causal_attention(qkv_BT3D: torch.Tensor, heads: int) -> torch.Tensor:
    """Causal multi-head attention of (B, T, 3D) to (B, T, D) by the quicker path."""
    batch, time, three = qkv_BT3D.shape
    if qkv_BT3D.device.type == "cpu" and time <= SHORT_CONTEXT:
        return ShortAttention.apply(qkv_BT3D, heads)  # type: ignore[no-any-return]
    qkv = qkv_BT3D.view(batch, time, 3, heads, three // 3 // heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
    return mixed.transpose(1, 2).reshape(batch, time, three // 3)


class HeadLoss(torch.autograd.Function):
    """Output head and cross-entropy in one: the logits of a chunk become their own gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_RD: torch.Tensor,
        head_VD: torch.Tensor,
        targets_R: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Sum over R of -log softmax(hidden head^T)[target], in nats (fp32 scalar)."""
        total = torch.zeros((), dtype=torch.float32, device=hidden_RD.device)
        wants_hidden, wants_head = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden_RD) if wants_hidden else None
        grad_head = torch.zeros_like(head_VD) if wants_head else None
        head = head_VD.to(dtype)
        rows = max(1, ROWS_AT_ONCE // head_VD.shape[0])
        for start in range(0, len(targets_R), rows):
            part = slice(start, start + rows)
            hidden = hidden_RD[part].to(dtype)
            logits = (hidden @ head.T).float()
            loss, exponentials, sums = _cross_entropy(logits, targets_R[part])
            total += loss.sum()
            if grad_hidden is None and grad_head is None:
                continue
            probabilities = exponentials.div_(sums)
            index = targets_R[part, None]
            minus_one = probabilities.new_full(index.shape, -1.0)
            probabilities.scatter_add_(1, index, minus_one)
            probabilities = probabilities.to(dtype)
            if grad_hidden is not None:
                grad_hidden[part] = probabilities @ head
            if grad_head is not None:
                grad_head += probabilities.T @ hidden
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale the gradients that the forward pass left."""
        hidden, head = ctx.saved_tensors
        return (
            None if hidden is None else hidden.mul_(grad),
            None if head is None else head.mul_(grad),
            None,
            None,
        )


def head_loss(
    hidden_BTD: torch.Tensor, head_VD: torch.Tensor, targets_BT: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Summed cross-entropy in nats of all targets, for training."""
    with torch.autocast(hidden_BTD.device.type, enabled=False):
        return HeadLoss.apply(  # type: ignore[no-any-return]
            hidden_BTD.flatten(0, 1).float(), head_VD, targets_BT.flatten(), dtype
        )


def head_losses(
    hidden_BTD: torch.Tensor, head_VD: torch.Tensor, targets_BT: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy in nats by token, (B, T), in fp32, for evaluation (no gradient)."""
    hidden, targets = hidden_BTD.flatten(0, 1).float(), targets_BT.flatten()
    rows = max(1, ROWS_AT_ONCE // head_VD.shape[0])
    parts = [
        _cross_entropy(hidden[start : start + rows] @ head_VD.T, targets[start : start + rows])[0]
        for start in range(0, len(targets), rows)
    ]
    return torch.cat(parts).view(targets_BT.shape)


def _cross_entropy(
    logits_RV: torch.Tensor, targets_R: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses (R,), exponentials (R, V; the memory of the logits) and their sums (R, 1)."""
    peak = logits_RV.amax(-1, keepdim=True)
    chosen = logits_RV.gather(1, targets_R[:, None]) - peak
    exponentials = logits_RV.sub_(peak).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    return (sums.log() - chosen).squeeze(1), exponentials, sums
