"""Whether a model has learnt to copy: random tokens, and the same tokens once more.

Olsson et al. 2022 (arXiv:2209.11895): the prefix-matching score of a head is the attention that a
token of the repetition pays to the token after its first occurrence; heads that pay much are
induction heads. Copying is told twice, by token and by five tokens in a row: the second is a
threshold put over the first, which alone can make a smooth gain look sudden (Schaeffer et al.
2023, arXiv:2304.15004).
"""

from collections.abc import Mapping

import numpy as np
import torch

from scalelab.evaluation.measures import (
    Estimate,
    Subject,
    batches,
    logits_of,
    losses_of,
    mean_of,
    measure,
)
from scalelab.seeds import stream

SEQUENCES = 64
IN_A_ROW = 5


@measure
def induction(subject: Subject) -> Mapping[str, Estimate]:
    """score, the best head's prefix matching (0 to 1); gain_nats, loss of the first time less that
    of the second (nats/token); copied and copied_in_a_row, shares of the second time that are
    predicted rightly, by token and by five together."""
    ids_WT, half = repeated(subject)
    gains, right, attention = [], [], []
    for batch in batches(ids_WT):
        out = logits_of(subject, batch, output_attentions=True)
        logits, targets = out.logits[:, :-1], batch[:, 1:]
        losses = losses_of(logits, targets)
        # The target at place t is token t + 1: the repetition's tokens after its first one, whose
        # place nothing tells.
        second = slice(half + 1, 2 * half)
        gains.append(losses[:, 1:half].mean(axis=1) - losses[:, second].mean(axis=1))
        right.append((logits.argmax(-1).cpu() == targets)[:, second].numpy())
        attention.append(_matching(out.attentions, half))
    hits = np.concatenate(right).astype(float)
    # Layers and heads (W, L, H): the head that is best on average is taken for every window.
    heads = np.concatenate(attention)
    flat = heads.reshape(len(heads), -1)
    best = int(flat.mean(axis=0).argmax())
    length = max(1, min(IN_A_ROW, hits.shape[1]))
    rows = np.lib.stride_tricks.sliding_window_view(hits, length, axis=1).min(axis=2)
    return {
        "score": mean_of(flat[:, best]),
        "gain_nats": mean_of(np.concatenate(gains)),
        "copied": mean_of(hits.mean(axis=1)),
        "copied_in_a_row": mean_of(rows.mean(axis=1)),
    }


def repeated(subject: Subject) -> tuple[np.ndarray, int]:
    """(W, 2 half + 1) ids, the separator and a random sequence twice, and half its length.

    Tokens are drawn evenly from those of the held-out text, without the separator.
    """
    half = (subject.context - 1) // 2
    known = subject.known[subject.known != subject.separator]
    rng = np.random.default_rng(stream(subject.seed, "induction"))
    drawn = rng.choice(known, (SEQUENCES, half))
    first = np.full((SEQUENCES, 1), subject.separator)
    return np.concatenate([first, drawn, drawn], axis=1), half


def _matching(attentions: tuple[torch.Tensor, ...], half: int) -> np.ndarray:
    """Attention from tokens of the repetition to what followed their first time, (W, L, H)."""
    # Token i of the sequence stands at 1 + i, again at 1 + half + i, followed first at 2 + i.
    at = torch.arange(1 + half, 2 * half)
    found = [weights[:, :, at, at - half + 1].mean(-1) for weights in attentions]
    return torch.stack(found, 1).cpu().double().numpy()
