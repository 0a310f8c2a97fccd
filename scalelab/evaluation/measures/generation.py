"""What a model writes after held-out beginnings, against how they really go on.

Half of the context is given, a quarter is asked for, with a cache of keys and values: the likeliest
token each time, and drawn at temperature 1. The same tokens of the reference are also read by
their probability: a loss beside a threshold, which alone can make a smooth gain look sudden
(Schaeffer et al. 2023, arXiv:2304.15004). Shape suffixes: W windows, T tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

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
from scalelab.seeds import stream

TEXTS = 256
"""Windows that are written on, at most, evenly apart: distinct falls with their number."""
IN_A_ROW = 4
"""Tokens that must all be right: the threshold."""
WRITE_TOKENS, WRITE_TEXTS = 8192, 64
"""Tokens of beginnings, and beginnings, that are gone on with at once, at most. By however many
processes: products of other sizes are rounded otherwise, which now and then makes another text."""


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


@dataclass(frozen=True)
class Beginnings:
    """What is gone on with at once, by whichever process."""

    ids_WT: np.ndarray
    more: int
    """Tokens to write after each."""
    separator: int
    """Never written."""
    drawn_WT: np.ndarray | None = None
    """Numbers in [0, 1) by which each token is drawn, (W, more); None: the likeliest."""


class Drawn(LogitsProcessor):
    """Leaves of each row the token at which the probabilities, summed by id, pass its number.

    That is inversion (Devroye 1986, II.2) with numbers of the text's own, so that what is drawn
    depends neither on the texts beside it nor on the process.
    """

    def __init__(self, begun: int, drawn_WT: np.ndarray) -> None:
        self.begun, self.drawn_WT = begun, torch.from_numpy(drawn_WT)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (W, V) of the next token, all but one -inf."""
        sums_WV = scores.cpu().double().softmax(-1).cumsum(-1)
        step = input_ids.shape[1] - self.begun
        passed = self.drawn_WT[:, step, None] * sums_WV[:, -1:]
        chosen = torch.searchsorted(sums_WV, passed, right=True).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


def write(subject: Subject, given_WT: np.ndarray, more: int) -> tuple[np.ndarray, np.ndarray]:
    """`more` ids after each beginning, (W, more): the likeliest, and drawn by their probabilities.

    A text's random numbers are a row of a table, and those of the first texts are the same however
    many there are. The separator is left out.
    """
    rng = np.random.default_rng(stream(subject.seed, "generation-drawn"))
    drawn_WT = rng.random((len(given_WT), more))
    size = max(1, min(WRITE_TEXTS, WRITE_TOKENS // given_WT.shape[1]))
    rows = [slice(at, at + size) for at in range(0, len(given_WT), size)]
    greedy = [Beginnings(given_WT[some], more, subject.separator) for some in rows]
    sampled = [
        replace(part, drawn_WT=drawn_WT[some]) for part, some in zip(greedy, rows, strict=True)
    ]
    written = subject.spread(subject.model, go_on, [*greedy, *sampled])
    return np.concatenate(written[: len(rows)]), np.concatenate(written[len(rows) :])


def go_on(model: Any, part: Beginnings) -> np.ndarray:
    """What a model writes after beginnings, (W, more)."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(part.ids_WT.astype(np.int64)).to(device)
    begun = ids.shape[1]
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            use_cache=True,
            max_new_tokens=part.more,
            suppress_tokens=[part.separator],
            pad_token_id=part.separator,
            logits_processor=[] if part.drawn_WT is None else [Drawn(begun, part.drawn_WT)],
        )
    return np.asarray(out[:, begun:].cpu().numpy())


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
