"""What a model gains from what it has read: loss early in its context against loss late in it.

After Olsson et al. 2022 (arXiv:2209.11895), who take the loss at the 50th and at the 500th of 512
tokens; here means over the same shares of the context, so that a short one has enough tokens too.
"""

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

EARLY = (0.05, 0.15)
LATE = (0.9, 1.0)
"""Shares of the context."""


@measure
def in_context(subject: Subject) -> Mapping[str, Estimate]:
    """early_nats, late_nats, and their difference gain_nats (nats/token), paired by window."""
    losses = np.concatenate(
        [
            losses_of(logits_of(subject, batch[:, :-1]).logits, batch[:, 1:])
            for batch in batches(subject.windows)
        ]
    )
    early, late = (_part(losses, share) for share in (EARLY, LATE))
    return {
        "early_nats": mean_of(early),
        "late_nats": mean_of(late),
        "gain_nats": mean_of(early - late),
    }


def _part(losses_WT: np.ndarray, share: tuple[float, float]) -> np.ndarray:
    """Mean loss of each window over a share of its positions, (W,); one position at least."""
    length = losses_WT.shape[1]
    first = min(int(share[0] * length), length - 1)
    last = max(first + 1, round(share[1] * length))
    return np.asarray(losses_WT[:, first:last].mean(axis=1))
