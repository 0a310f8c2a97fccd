"""Output head and cross-entropy, written so that few passes over memory remain.

Shape suffixes: B sequences, T tokens, R = B T, D width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from scalelab.plan.passes import LOGITS_AT_ONCE

FAINT = 1e-30
"""Probability below which its logarithm is had from the logits: it may have lost its digits."""


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
        grad_head = None
        head = head_VD.to(dtype)
        for part in _chunks(targets_R, head_VD):
            hidden = hidden_RD[part].to(dtype)
            loss, probabilities = _cross_entropy((hidden @ head.T).float(), targets_R[part])
            total = total + loss  # in place, compiled by torch 2.11, its gradient is lost
            if not (wants_hidden or wants_head):
                continue
            index = targets_R[part, None]
            probabilities.scatter_add_(1, index, probabilities.new_full(index.shape, -1.0))
            probabilities = probabilities.to(dtype)
            if grad_hidden is not None:
                grad_hidden[part] = probabilities @ head
            if wants_head:
                pull = probabilities.T @ hidden
                grad_head = pull.float() if grad_head is None else grad_head.add_(pull)
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


def all_logits(hidden_BTD: torch.Tensor, head_VD: torch.Tensor) -> torch.Tensor:
    """The logits of all tokens at once in fp32, (B, T, V): for what needs whole distributions."""
    with torch.autocast(hidden_BTD.device.type, enabled=False):
        return hidden_BTD.float() @ head_VD.T


def head_losses(
    hidden_BTD: torch.Tensor, head_VD: torch.Tensor, targets_BT: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy in nats by token, (B, T), in fp32, for evaluation (no gradient)."""
    hidden, targets = hidden_BTD.flatten(0, 1).float(), targets_BT.flatten()
    parts = [
        F.cross_entropy(hidden[part] @ head_VD.T, targets[part], reduction="none")
        for part in _chunks(targets, head_VD)
    ]
    return torch.cat(parts).view(targets_BT.shape)


def _chunks(targets_R: torch.Tensor, head_VD: torch.Tensor) -> list[slice]:
    rows = max(1, LOGITS_AT_ONCE[head_VD.device.type] // head_VD.shape[0])
    return [slice(start, start + rows) for start in range(0, len(targets_R), rows)]


def _cross_entropy(
    logits_RV: torch.Tensor, targets_R: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed loss, a scalar, and probabilities (R, V)."""
    probabilities = torch.softmax(logits_RV, -1)
    chosen = probabilities.gather(1, targets_R[:, None])[:, 0]
    losses = -chosen.log()
    faint = chosen < FAINT
    if logits_RV.device.type != "cpu":  # there a look at the values costs more than they do
        losses = F.cross_entropy(logits_RV, targets_R, reduction="none")
    elif faint.any():
        logits, targets = logits_RV[faint], targets_R[faint]
        losses[faint] = F.cross_entropy(logits, targets, reduction="none")
    return losses.sum(), probabilities
