"""Whether a model is right as often as it is sure.

The expected calibration error of the likeliest token over fifteen bins of equal width (Guo et al.
2017, arXiv:1706.04599, equation 3).
"""

from collections.abc import Mapping

import numpy as np

from scalelab.evaluation.measures import (
    Estimate,
    Subject,
    batches,
    logits_of,
    mean_of,
    measure,
)
from scalelab.seeds import stream

BINS = 15
RESAMPLES = 200


@measure
def calibration(subject: Subject) -> Mapping[str, Estimate]:
    """accuracy of the likeliest token; overconfidence, its mean probability less that; ece, the
    expected calibration error. The error of ece is a bootstrap over windows."""
    sure, right = [], []
    for batch in batches(subject.windows):
        chances = logits_of(subject, batch[:, :-1]).logits.float().softmax(-1)
        top = chances.max(-1)
        sure.append(top.values.cpu().double().numpy())
        right.append((top.indices.cpu() == batch[:, 1:]).double().numpy())
    sure_WT, right_WT = np.concatenate(sure), np.concatenate(right)
    rng = np.random.default_rng(stream(subject.seed, "calibration"))
    picked = rng.integers(len(sure_WT), size=(RESAMPLES, len(sure_WT)))
    again = [expected_error(sure_WT[rows], right_WT[rows]) for rows in picked]
    return {
        "accuracy": mean_of(right_WT.mean(axis=1)),
        "overconfidence": mean_of((sure_WT - right_WT).mean(axis=1)),
        "ece": Estimate(expected_error(sure_WT, right_WT), float(np.std(again, ddof=1))),
    }


def expected_error(sure: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of probabilities and outcomes (0 or 1) of one shape."""
    flat = sure.ravel()
    places = np.minimum((flat * BINS).astype(int), BINS - 1)
    gaps = np.bincount(places, weights=flat - right.ravel(), minlength=BINS)
    return float(np.abs(gaps).sum() / len(flat))
