"""Which tokens of a block are hidden from a model, and what it is to predict.

Shape suffixes: B sequences, T tokens of a block, R tokens that are read, P that are predicted.
"""

import numpy as np
import torch

from scalelab.plan.objectives import hidden_tokens, spans
from scalelab.seeds import stream

IGNORED = -100
"""A target that is not predicted (that of torch's cross-entropy)."""
KEPT, RANDOM = 0.1, 0.1
"""Shares of the hidden tokens that stay as they are, and that are another token of the vocabulary
(Devlin et al. 2019, section 3.1)."""


def corrupted(
    objective: str, blocks_BT: torch.Tensor, vocab: int, seed: int, purpose: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of blocks for an objective that is not causal, drawn from (seed, purpose).

    Which tokens are hidden depends on neither the size of the model nor how a batch is divided.
    """
    generator = np.random.default_rng(stream(seed, f"hidden tokens, {purpose}"))
    hide = {"masked": masked, "spans": cut}[objective]
    inputs, targets = hide(blocks_BT.numpy(), vocab, generator)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def masked(
    blocks_BT: np.ndarray, vocab: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """15% of each block hidden: inputs (B, T), in which `vocab` is the mask, and targets (B, T)."""
    count, time = blocks_BT.shape
    hidden_BT = _some(count, time, hidden_tokens(time), generator)
    draw_BT = generator.random(blocks_BT.shape)
    other_BT = generator.integers(0, vocab, blocks_BT.shape)
    told_BT = np.where(draw_BT < KEPT, blocks_BT, vocab)
    told_BT = np.where((draw_BT >= KEPT) & (draw_BT < KEPT + RANDOM), other_BT, told_BT)
    return np.where(hidden_BT, told_BT, blocks_BT), np.where(hidden_BT, blocks_BT, IGNORED)


def cut(
    blocks_BT: np.ndarray, vocab: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Spans cut out of each block: inputs (B, R), targets (B, P).

    In the inputs the id `vocab` + k stands for span k; the targets are that id and the span, one
    after another, and the id after the last (Raffel et al. 2020, figure 2). All blocks have as many
    spans, of random lengths that sum to the same, so R and P are those of
    `scalelab.plan.objectives`.
    """
    count, time = blocks_BT.shape
    hidden, number = hidden_tokens(time), spans(time)
    away = _lengths(count, hidden, number, generator)
    between = _lengths(count, time - hidden, number, generator)
    lengths = np.stack([between, away], axis=2).reshape(count, 2 * number)
    starts = np.cumsum(lengths, axis=1) - lengths
    piece_BT = np.zeros((count, time), dtype=np.int64)
    rows = np.arange(count)[:, None]
    piece_BT[rows, starts[:, 1:]] = 1
    piece_BT = np.cumsum(piece_BT, axis=1)
    hidden_BT = piece_BT % 2 == 1
    first_BT = np.zeros((count, time), dtype=bool)
    first_BT[rows, starts[:, 1::2]] = True
    stands_BT = vocab + piece_BT // 2
    inputs_BT = np.where(first_BT, stands_BT, blocks_BT)
    inputs = inputs_BT[~hidden_BT | first_BT].reshape(count, -1)
    both = np.stack([stands_BT, blocks_BT], axis=2).reshape(count, -1)
    kept = np.stack([first_BT, hidden_BT], axis=2).reshape(count, -1)
    end = np.full((count, 1), vocab + number)
    return inputs, np.concatenate([both[kept].reshape(count, -1), end], axis=1)


def _some(count: int, time: int, chosen: int, generator: np.random.Generator) -> np.ndarray:
    """(count, time) of bool, `chosen` True in each row."""
    marks = np.zeros((count, time), dtype=bool)
    marks[:, :chosen] = True
    return generator.permuted(marks, axis=1)


def _lengths(count: int, total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """(count, parts) lengths of one or more that sum to `total`, each way to cut as likely."""
    ends = np.zeros((count, total), dtype=bool)
    ends[:, -1] = True
    ends[:, :-1] = _some(count, total - 1, parts - 1, generator)
    places = np.nonzero(ends)[1].reshape(count, parts)
    return np.diff(places, axis=1, prepend=-1)
