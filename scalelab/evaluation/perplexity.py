"""Held-out loss: every token scored exactly once, summed in nats, divided once at the end."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scalelab.models import LanguageModel

BATCH_TOKENS = 8192


@dataclass(frozen=True)
class HeldOut:
    """Loss of a model on one split."""

    nats: float
    """Sum over the scored tokens of -log p(token)."""
    tokens: int
    """Tokens scored: all of the split."""
    bytes: int | None
    """UTF-8 bytes of the split's text; None where only some of its tokens are scored."""
    standard_error: float | None
    """Sampling standard error of the mean loss, clustered by document (nats/token); None where
    there is one document alone."""

    @property
    def loss_nats(self) -> float:
        """Mean nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float | None:
        """exp(loss); None where that overflows."""
        return math.exp(self.loss_nats) if self.loss_nats < 700 else None

    @property
    def bits_per_byte(self) -> float | None:
        """Total nats / (ln 2 * bytes): comparable between tokenizers. None without bytes."""
        return None if self.bytes is None else self.nats / math.log(2) / self.bytes


def windows(length: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Windows (start, end, first scored) that score each of `length` tokens exactly once.

    The first window scores all of its tokens, each later one its last `stride` (the remainder of
    the text in the last one), given the tokens before them.
    """
    scored = 0
    while scored < length:
        end = min(length, context if scored == 0 else scored + stride)
        yield max(0, end - context), end, scored
        scored = end


def token_losses(
    model: LanguageModel,
    tokens: np.ndarray,
    separator: int,
    context: int,
    stride: int,
    batch_tokens: int = BATCH_TOKENS,
) -> np.ndarray:
    """Loss in nats of each token of a stream, float64 of shape (tokens,).

    The first token of the stream is predicted from the separator alone, so that it counts as well.
    Windows of one length are batched; a result does not depend on the batch.
    """
    device = next(model.parameters()).device
    padded = np.concatenate([[separator], tokens]).astype(np.int64)
    out = np.empty(len(tokens), dtype=np.float64)
    spans = list(windows(len(tokens), context, stride))
    size = max(1, batch_tokens // context)
    model.eval()
    with torch.inference_mode():
        for length, group in _by_length(spans):
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                index = np.array([span[0] for span in batch])[:, None] + np.arange(length)
                inputs = torch.from_numpy(padded[index]).to(device)
                targets = torch.from_numpy(padded[index + 1]).to(device)
                losses = model.losses(inputs, targets).cpu().double().numpy()
                for row, (first, end, scored) in zip(losses, batch, strict=True):
                    out[scored:end] = row[scored - first :]
    return out


def held_out(losses: np.ndarray, clusters: np.ndarray, text_bytes: int | None) -> HeldOut:
    """Sum losses up.

    Args:
        losses: nats by token, shape (tokens,).
        clusters: document of each token, same shape; documents are the independent draws.
        text_bytes: UTF-8 bytes of the text; None where the tokens are some of it.

    The standard error is that of a ratio of sums over clusters (Cochran 1977, eq. 6.13).
    """
    total, count = float(losses.sum()), len(losses)
    mean = total / count
    _, codes = np.unique(clusters, return_inverse=True)
    deviations = np.bincount(codes, weights=losses - mean)
    groups = len(deviations)
    spread = None
    if groups > 1:
        spread = math.sqrt(float((deviations**2).sum()) * groups / (groups - 1)) / count
    return HeldOut(total, count, text_bytes, spread)


def _by_length(spans: list[tuple[int, int, int]]) -> list[tuple[int, list[Any]]]:
    groups: dict[int, list[Any]] = {}
    for span in spans:
        groups.setdefault(span[1] - span[0], []).append(span)
    return list(groups.items())
