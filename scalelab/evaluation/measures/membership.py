"""What a model gives away of the text that it was trained on.

Blocks of the training split that the run saw stand against blocks of the same split, of the same
random order, that it ended before: they differ in nothing else. Attacks are the simplest ones: a
low loss is taken for a sign of membership (Yeom et al. 2018, arXiv:1709.01604), and text counts as
extracted when the model goes on with it word for word, the likeliest token each time (Carlini et
al. 2023, arXiv:2202.07646, definition 3.1, with half of the context given and a quarter asked for).
"""

import math
from collections.abc import Mapping

import numpy as np

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

RESAMPLES = 200


@measure
def membership(subject: Subject) -> Mapping[str, Estimate]:
    """gap_nats, loss of unseen blocks less that of seen ones (nats/token); auc of a guess by the
    loss of a block, 0.5 where nothing is given away; advantage, right less wrong guesses at the
    threshold of the mean loss of seen blocks; extracted and extracted_unseen, shares of blocks."""
    seen, copied = _read(subject, subject.seen)
    unseen, chance = _read(subject, subject.unseen)
    less, more = mean_of(seen), mean_of(unseen)
    rng = np.random.default_rng(stream(subject.seed, "membership"))
    drawn = [
        (rng.choice(seen, len(seen)), rng.choice(unseen, len(unseen))) for _ in range(RESAMPLES)
    ]
    return {
        "gap_nats": Estimate(more.value - less.value, math.hypot(more.se or 0, less.se or 0)),
        "auc": _with_error(area(seen, unseen), [area(*one) for one in drawn]),
        "advantage": _with_error(advantage(seen, unseen), [advantage(*one) for one in drawn]),
        "extracted": mean_of(copied),
        "extracted_unseen": mean_of(chance),
    }


def area(seen: np.ndarray, unseen: np.ndarray) -> float:
    """Chance that a seen block has the lower loss of a pair; half for equal ones (Mann-Whitney)."""
    order = np.sort(unseen)
    higher = len(order) - np.searchsorted(order, seen, side="right")
    equal = np.searchsorted(order, seen, side="right") - np.searchsorted(order, seen, side="left")
    return float((higher + equal / 2).mean() / len(order))


def advantage(seen: np.ndarray, unseen: np.ndarray) -> float:
    """Share of seen blocks at or below the mean loss of seen ones, less that of unseen blocks
    (Yeom et al. 2018, section 3.2)."""
    at = seen.mean()
    return float((seen <= at).mean() - (unseen <= at).mean())


def _read(subject: Subject, blocks_WT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss of each block, and whether its third quarter follows from the first half, (W,)."""
    half, more = subject.context // 2, max(1, subject.context // 4)
    losses, right = [], []
    for batch in batches(blocks_WT):
        logits = logits_of(subject, batch[:, :-1]).logits
        targets = batch[:, 1:]
        losses.append(losses_of(logits, targets).mean(axis=1))
        # Given right tokens so far, the likeliest ones are those that decoding would have written.
        hits = logits[:, half : half + more].argmax(-1).cpu() == targets[:, half : half + more]
        right.append(hits.all(dim=1).double().numpy())
    return np.concatenate(losses), np.concatenate(right)


def _with_error(value: float, again: list[float]) -> Estimate:
    """A value with the standard deviation of its bootstrap resamples."""
    return Estimate(value, float(np.std(again, ddof=1)))
