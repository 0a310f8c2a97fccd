"""A small GPT and its loop in the well-known style of nanoGPT, as what training is compared with.

Plain modules of torch, the logits of all positions at once, torch's fused AdamW with one group of
decayed matrices, gradients clipped by norm, batches from random offsets into a memory map, autocast
where bf16 is asked for. The loss is read only now and then, as such loops do.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LOG_EVERY = 10


class Attention(nn.Module):
    """Causal multi-head attention by torch's fused kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, time, width) to the same shape."""
        batch, time, width = x.shape
        parts = self.inward(x).split(width, dim=2)
        q, k, v = (p.view(batch, time, self.heads, -1).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.outward(mixed.transpose(1, 2).contiguous().view(batch, time, width))


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, time, width) to the same shape."""
        x = x + self.attention(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    """Embeddings, blocks, a norm, and a head that is the token embedding."""

    def __init__(self, depth: int, width: int, heads: int, context: int, vocab: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of every position and their mean cross-entropy."""
        where = torch.arange(inputs.shape[1])
        x = self.tokens(inputs) + self.positions(where)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def adamw(model: nn.Module, recipe: dict[str, Any]) -> torch.optim.AdamW:
    """Matrices and embeddings decayed, biases and norms not; fused."""
    parameters = list(model.parameters())
    groups = [
        {
            "params": [p for p in parameters if p.ndim >= 2],
            "weight_decay": recipe["weight_decay"],
        },
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (recipe["beta1"], recipe["beta2"])
    return torch.optim.AdamW(groups, lr=recipe["lr"], betas=betas, fused=True)


def train(
    spec: dict[str, Any],
    tokens: np.ndarray,
    precision: str,
    after_step: Callable[[], bool],
) -> None:
    """Step until `after_step`, called after each step, says that it is enough."""
    torch.manual_seed(spec["seed"])
    shape = {key: spec["model"][key] for key in ("depth", "width", "heads", "context", "vocab")}
    recipe = spec["training"]
    context, batch = shape["context"], recipe["batch_tokens"] // shape["context"]
    model = GPT(**shape)
    optimizer = adamw(model, recipe)
    autocast: Any = contextlib.nullcontext()
    if precision == "bf16":
        autocast = torch.autocast("cpu", dtype=torch.bfloat16)

    def get_batch() -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(tokens) - context, (batch,)).tolist()
        rows = [torch.from_numpy(tokens[i : i + context + 1].astype(np.int64)) for i in starts]
        both = torch.stack(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    step, done = 0, False
    inputs, targets = get_batch()
    while not done:
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, recipe)
        with autocast:
            _, loss = model(inputs, targets)
        inputs, targets = get_batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % LOG_EVERY == 0:
            loss.item()
        step += 1
        done = after_step()


def cosine(step: int, recipe: dict[str, Any]) -> float:
    """Linear warm-up, then half a cosine down to a tenth."""
    warmup, steps, peak = recipe["schedule"]["warmup_steps"], recipe["steps"], recipe["lr"]
    if step < warmup:
        return float(peak * (step + 1) / warmup)
    share = min(1.0, (step - warmup) / max(steps - warmup, 1))
    return float(peak * (0.1 + 0.45 * (1 + math.cos(math.pi * share))))
