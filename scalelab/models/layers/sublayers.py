"""The two halves of a pre-norm block with gradients by hand: few kernels, few passes over memory.

On a processor the matrix products of a small model take half of a step at most; the rest is what
torch does between them: a tanh twice, copies, a graph of hundreds of nodes. Here each half of a
block is one node. Parameters and the residual stream are fp32; products run in `dtype`.

Shape suffixes: B sequences, T tokens, R = B T, D width, U inner width.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from scalelab.models.layers.attention import Attended, attend, attend_backward

AT_ONCE = 2**16
"""Numbers of the inner activation that are worked on at once: they stay in the cache."""
SLOPE = 2 * math.sqrt(2 / math.pi)
CUBE = SLOPE * 0.044715


def _norm(x_RD: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> Any:
    return torch.native_layer_norm(x_RD, weight.shape, weight, bias, eps)


def _norm_backward(grad: torch.Tensor, x: torch.Tensor, mean: Any, rstd: Any, norm: Any) -> Any:
    """Gradients by x, by the weight and by the bias of the norm."""
    weight, bias = norm
    return torch.ops.aten.native_layer_norm_backward(
        grad, x, weight.shape, mean, rstd, weight, bias, [True, True, True]
    )


class AttentionHalf(torch.autograd.Function):
    """x + mix(attention(qkv(norm(x))))."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BTD: torch.Tensor,
        norm_weight: torch.Tensor,
        norm_bias: torch.Tensor,
        qkv_weight: torch.Tensor,
        qkv_bias: torch.Tensor,
        mix_weight: torch.Tensor,
        mix_bias: torch.Tensor,
        heads: int,
        scale: float,
        eps: float,
        dtype: torch.dtype,
        seen_BTT: torch.Tensor | None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D), both fp32; weights of linear layers are (out, in)."""
        batch, time, width = x_BTD.shape
        x = x_BTD.reshape(-1, width)
        inner, mean, rstd = _norm(x, norm_weight, norm_bias, eps)
        inner = inner.to(dtype)
        qkv_weight, mix_weight = qkv_weight.to(dtype), mix_weight.to(dtype)
        qkv = torch.addmm(qkv_bias.to(dtype), inner, qkv_weight.T)
        mixed, attended = attend(qkv.view(batch, time, -1), heads, scale, seen_BTT)
        ctx.save_for_backward(
            *(x, mean, rstd, norm_weight, norm_bias, inner, qkv_weight, mixed, mix_weight),
            *(attended.qkv, attended.weights),
        )
        ctx.attended = attended.heads, attended.scale
        out = torch.addmm(mix_bias.to(dtype), mixed, mix_weight.T)
        return (out.add_(x) if dtype == torch.float32 else x + out).view_as(x_BTD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients by x and by the parameters, fp32."""
        x, mean, rstd, norm_weight, norm_bias, inner, qkv_weight, mixed, mix_weight, *saved = (
            ctx.saved_tensors
        )
        whole = grad_BTD.reshape(x.shape)
        grad = whole.to(mixed.dtype)
        mix = grad.T @ mixed, grad.sum(0)
        before = (grad @ mix_weight).view(grad_BTD.shape)
        scores = attend_backward(before, Attended(*saved, *ctx.attended))
        qkv = scores.T @ inner, scores.sum(0)
        below = (scores @ qkv_weight).float()
        below, *norm = _norm_backward(below, x, mean, rstd, (norm_weight, norm_bias))
        below += whole
        parameters = [part.float() for part in (*norm, *qkv, *mix)]
        return below.view_as(grad_BTD), *parameters, None, None, None, None, None


class MlpHalf(torch.autograd.Function):
    """x + down(gelu(up(norm(x)))), the GELU by its tanh form (Hendrycks and Gimpel 2016)."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BTD: torch.Tensor,
        norm_weight: torch.Tensor,
        norm_bias: torch.Tensor,
        up_weight: torch.Tensor,
        up_bias: torch.Tensor,
        down_weight: torch.Tensor,
        down_bias: torch.Tensor,
        eps: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D), both fp32; weights of linear layers are (out, in)."""
        x = x_BTD.reshape(-1, x_BTD.shape[-1])
        inner, mean, rstd = _norm(x, norm_weight, norm_bias, eps)
        inner = inner.to(dtype)
        up_weight, down_weight = up_weight.to(dtype), down_weight.to(dtype)
        active, slope = gelu(torch.addmm(up_bias.to(dtype), inner, up_weight.T))
        ctx.save_for_backward(
            *(x, mean, rstd, norm_weight, norm_bias, inner, up_weight, active, slope, down_weight)
        )
        out = torch.addmm(down_bias.to(dtype), active, down_weight.T)
        return (out.add_(x) if dtype == torch.float32 else x + out).view_as(x_BTD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients by x and by the parameters, fp32."""
        x, mean, rstd, norm_weight, norm_bias, inner, up_weight, active, slope, down_weight = (
            ctx.saved_tensors
        )
        whole = grad_BTD.reshape(x.shape)
        grad = whole.to(active.dtype)
        down = grad.T @ active, grad.sum(0)
        before = (grad @ down_weight).mul_(slope)
        up = before.T @ inner, before.sum(0)
        below = (before @ up_weight).float()
        below, *norm = _norm_backward(below, x, mean, rstd, (norm_weight, norm_bias))
        below += whole
        parameters = [part.float() for part in (*norm, *up, *down)]
        return below.view_as(grad_BTD), *parameters, None, None


def gelu(x_RU: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The GELU of x in its tanh form, and its derivative, from one exponential.

    With s = sigmoid(x (a + b x^2)), a = 2 sqrt(2 / pi), b = 0.044715 a: gelu = x s, since
    (1 + tanh(z / 2)) / 2 = sigmoid(z), and gelu' = s + (1 - s) x s (a + 3 b x^2).
    """
    value, derivative = torch.empty_like(x_RU), torch.empty_like(x_RU)
    slope, one = (torch.tensor(number, dtype=x_RU.dtype) for number in (SLOPE, 1.0))
    parts = (flat.view(-1).split(AT_ONCE) for flat in (x_RU, value, derivative))
    for x, y, s in zip(*parts, strict=True):
        bend = x * x
        torch.add(slope, bend, alpha=CUBE, out=s).mul_(x).sigmoid_()
        torch.mul(x, s, out=y)
        torch.add(slope, bend, alpha=3 * CUBE, out=bend).mul_(y)
        torch.lerp(s, one, bend, out=s)
    return value, derivative


def attention_half(
    x_BTD: torch.Tensor,
    norm: nn.LayerNorm,
    qkv: nn.Linear,
    mix: nn.Linear,
    heads: int,
    scale: float,
    dtype: torch.dtype,
    seen_BTT: torch.Tensor | None = None,
) -> torch.Tensor:
    """x + mix(attention(qkv(norm(x)))) by `AttentionHalf`; seen as for `attend`."""
    return AttentionHalf.apply(  # type: ignore[no-any-return]
        *(x_BTD, norm.weight, norm.bias, qkv.weight, qkv.bias, mix.weight, mix.bias),
        *(heads, scale, norm.eps, dtype, seen_BTT),
    )


def mlp_half(
    x_BTD: torch.Tensor, norm: nn.LayerNorm, up: nn.Linear, down: nn.Linear, dtype: torch.dtype
) -> torch.Tensor:
    """x + down(gelu(up(norm(x)))) by `MlpHalf`."""
    return MlpHalf.apply(  # type: ignore[no-any-return]
        *(x_BTD, norm.weight, norm.bias, up.weight, up.bias, down.weight, down.bias),
        *(norm.eps, dtype),
    )
