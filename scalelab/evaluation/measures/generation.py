"""What a model writes after held-out beginnings, against how they really go on.

Half of the context is given, a quarter is asked for, with a cache of keys and values: the likeliest
token each time, and drawn at temperature 1. The same tokens of the reference are also read by
their probability: a loss beside a threshold, which alone can make a smooth gain look sudden
(Schaeffer et al. 2023, arXiv:2304.15004). Shape suffixes: W windows, T tokens.
"""

from collections.abc import Mapping

import numpy as np

from scalelab.evaluation.measures import (
    FEWEST,
    Estimate,
    NotMeasured,
    Subject,
    batches,
    logits_of,
    losses_of,
    mean_of,
    measure,
)
from scalelab.evaluation.measures._scores import distinct, libraries, repeated, scores
from scalelab.evaluation.measures._writing import write
from scalelab.seeds import stream

TEXTS = 256
"""Windows that are written on, at most, evenly apart: distinct falls with their number."""
IN_A_ROW = 4
"""Tokens that must all be right: the threshold."""


@measure
def generation(subject: Subject) -> Mapping[str, Estimate]:
    """reference_nats (nats/token), right and four_right of the reference, given its own beginning:
    shares of tokens, and of runs of four tokens, that are the likeliest. greedy_, sampled_ and, for
    what chance is, other_ (another window's reference): bleu, chrf, rougeL (0 to 100). repeated,
    the share of 4-grams that a text had before; distinct, of different pairs in all texts."""
    libraries()
    if subject.decode is None:
        raise NotMeasured("its family has no decoder that writes text with a cache")
    half, more = subject.context // 2, max(2, subject.context // 4)
    windows = subject.windows[:, : 1 + half + more]
    # A reference is of one document, and none that is written ends early: lengths are equal.
    windows = windows[(windows[:, 1:] != subject.separator).all(axis=1)]
    if len(windows) < FEWEST:
        raise NotMeasured(
            f"{len(windows)} windows of {half + more} tokens of one document, expected {FEWEST} or "
            "more"
        )
    found = _read(subject, windows, more)
    if len(windows) > TEXTS:
        windows = windows[np.linspace(0, len(windows) - 1, TEXTS).round().astype(int)]
    given, true = windows[:, :-more], windows[:, -more:]
    rng = np.random.default_rng(stream(subject.seed, "generation"))
    greedy, sampled = write(subject, given, more)
    references = subject.decode(true)
    texts = {"greedy": greedy, "sampled": sampled, "other": another(true, rng)}
    of_texts = {name: scores(subject.decode(ids), references, rng) for name, ids in texts.items()}
    for score in ("bleu", "chrf", "rougeL"):
        found |= {f"{name}_{score}": told[score] for name, told in of_texts.items()}
    found["greedy_repeated"] = repeated(greedy)
    found["greedy_distinct"], found["sampled_distinct"] = distinct(greedy), distinct(sampled)
    return found


def another(true_WT: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows in the order of one random cycle, so that none stays where it was."""
    order = rng.permutation(len(true_WT))
    other = np.empty_like(true_WT)
    other[order] = true_WT[np.roll(order, 1)]
    return other


def _read(subject: Subject, windows_WT: np.ndarray, more: int) -> dict[str, Estimate]:
    """The last `more` tokens of each window by their probability, given all before them."""
    losses, right = [], []
    for batch in batches(windows_WT):
        logits = logits_of(subject, batch[:, :-1]).logits[:, -more:]
        targets = batch[:, -more:]
        losses.append(losses_of(logits, targets).mean(axis=1))
        right.append((logits.argmax(-1).cpu() == targets).numpy())
    right_WT = np.concatenate(right)
    size = min(IN_A_ROW, more)
    runs = right_WT[:, : more // size * size].reshape(len(right_WT), -1, size).all(axis=-1)
    return {
        "reference_nats": mean_of(np.concatenate(losses)),
        "right": mean_of(right_WT.mean(axis=1)),
        "four_right": mean_of(runs.mean(axis=1)),
    }
