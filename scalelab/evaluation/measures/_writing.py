"""Text that a model writes after beginnings, with a cache of keys and values and many at once.

Shape suffixes: W windows, T tokens, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

from scalelab.evaluation.measures import Subject
from scalelab.seeds import stream

WRITE_TOKENS, WRITE_TEXTS = 8192, 64
"""Tokens of beginnings, and beginnings, that are gone on with at once, at most. By however many
processes: products of other sizes are rounded otherwise, which now and then makes another text."""


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
