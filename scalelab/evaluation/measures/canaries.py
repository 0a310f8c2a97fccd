"""What a model keeps of secrets that were planted in its training text.

Exposure is that of Carlini et al. 2019 (arXiv:1802.08232, section 4): log2 of the number of secrets
that there could be, less log2 of the rank of the planted one by its loss. As there, the rank is
estimated from a sample of the others, and beyond the sample by a skew-normal distribution fitted
to their losses. Extraction is that of Carlini et al. 2023 (arXiv:2202.07646, definition 3.1).
"""

import math
from collections.abc import Mapping

import numpy as np

from scalelab.evaluation.measures import (
    Estimate,
    NotMeasured,
    Planted,
    Subject,
    batches,
    logits_of,
    losses_of,
    mean_of,
    measure,
)
from scalelab.seeds import stream

REFERENCES = 1023
"""Secrets that a planted one is compared with: the sample tells exposures up to 10 bits."""


@measure
def canaries(subject: Subject) -> Mapping[str, Estimate]:
    """For each repetition R, means over its canaries with standard errors: exposure_xR, bits by the
    sample, at most log2(REFERENCES + 1); fitted_xR, bits by the skew-normal distribution, at most
    log2 of the space; extracted_xR, share whose secret follows word for word, the likeliest token
    each time; seen_xR, how often the run was trained on one whole. x0 are never planted."""
    planted = subject.planted()
    rng = np.random.default_rng(stream(subject.seed, "canaries"))
    found: dict[int, list[tuple[float, ...]]] = {}
    for canary, seen in zip(planted.canaries, planted.seen.tolist(), strict=True):
        secrets = [canary["secret"], *_others(planted, canary["secret"], rng)]
        nats, right = _read(subject, planted, canary, secrets)
        sampled, fitted = exposure(nats), by_fit(nats, planted.space)
        found.setdefault(canary["repeats"], []).append((sampled, fitted, float(right), seen))
    names = ("exposure", "fitted", "extracted", "seen")
    return {
        f"{name}_x{repeats}": mean_of(np.array(column))
        for repeats, rows in found.items()
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def exposure(nats: np.ndarray) -> float:
    """Bits by the rank of the first of some losses among all of them, (secrets,).

    Equal losses count against it. Where the others are a sample this is an estimate, and what is
    at its bound, log2 of their number, is known to be that or more.
    """
    return math.log2(len(nats)) - math.log2(int((nats <= nats[0]).sum()))


def by_fit(nats: np.ndarray, space: int) -> float:
    """Bits by a skew-normal distribution with the moments of the other losses, at most log2 of
    `space`: no rank is less than 1."""
    from scipy.stats import skewnorm

    most = math.log2(space)
    if np.ptp(nats[1:]) == 0:
        return 0.0 if nats[0] >= nats[1] else most
    share = float(skewnorm(*skewnorm.fit(nats[1:], method="MM")).cdf(nats[0]))
    return min(-math.log2(share), most) if share > 0 else most


def _others(planted: Planted, secret: str, rng: np.random.Generator) -> list[str]:
    """Secrets beside the one: all of them where they are few, else an even sample."""
    rest = planted.space - 1
    drawn = np.arange(rest) if rest <= REFERENCES else rng.integers(0, rest, REFERENCES)
    drawn = drawn + (drawn >= int(secret))
    return [f"{number:0{len(secret)}d}" for number in drawn.tolist()]


def _read(
    subject: Subject, planted: Planted, canary: Mapping[str, str], secrets: list[str]
) -> tuple[np.ndarray, bool]:
    """Nats of what follows the common beginning, for each secret (secrets,), and whether it is what
    the model goes on with for the first."""
    before, *rows = planted.encode(
        [canary["before"], *(canary["before"] + one + canary["after"] for one in secrets)]
    )
    lengths = np.array([len(row) for row in rows])
    if lengths.max() > subject.context:
        raise NotMeasured(
            f"a canary of {lengths.max()} tokens, expected at most the context of {subject.context}"
        )
    ids = np.full((len(rows), lengths.max() + 1), subject.separator)
    for place, row in enumerate(rows):
        ids[place, 1 : 1 + len(row)] = row
    # A tokenizer may join the end of what stands before to the secret.
    same = (ids[:, 1 : 1 + len(before)] == before).all(axis=0)
    start = int(same.argmin()) if not same.all() else len(before)
    losses, right = [], False
    for number, batch in enumerate(batches(ids)):
        logits = logits_of(subject, batch[:, :-1]).logits[:, start:]
        targets = batch[:, 1 + start :]
        losses.append(losses_of(logits, targets))
        if number == 0:
            own = int(lengths[0]) - start
            right = bool((logits[0, :own].argmax(-1).cpu() == targets[0, :own]).all())
    asked = np.arange(start, ids.shape[1] - 1) < lengths[:, None]
    return (np.concatenate(losses) * asked).sum(axis=1), right
