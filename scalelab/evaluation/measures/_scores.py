"""Scores of written texts: BLEU and chrF as sacrebleu has them, ROUGE-L as rouge-score does.

Both come with the extra `generation`. W texts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.measures import Estimate, mean_of

RESAMPLES = 200
GRAM = 4
"""Length of what counts as repeated (Welleck et al. 2020, arXiv:1908.04319)."""


def libraries() -> tuple[Any, Any]:
    """sacrebleu and rouge-score's RougeScorer; `UserError` with the command that installs them."""
    try:
        import sacrebleu
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError(
            f"evaluation.measures: generation needs the package {error.name}, which cannot be "
            "imported; install it with `pip install 'scalelab[generation]'`"
        ) from None
    return sacrebleu, RougeScorer


def scores(
    written: Sequence[str], references: Sequence[str], rng: np.random.Generator
) -> Mapping[str, Estimate]:
    """bleu of all texts (Papineni et al. 2002; its error is a bootstrap over texts, Koehn 2004);
    chrf (Popovic 2015) and rougeL (Lin 2004), means over texts. All from 0 to 100."""
    sacrebleu, scorer = libraries()
    rouge = scorer(["rougeL"])
    counts, chrf, longest = [], [], []
    for text, reference in zip(written, references, strict=True):
        one = sacrebleu.sentence_bleu(text, [reference])
        counts.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
        chrf.append(sacrebleu.sentence_chrf(text, [reference]).score)
        longest.append(100 * rouge.score(reference, text)["rougeL"].fmeasure)
    table = np.array(counts)

    def bleu(rows: np.ndarray) -> float:
        *grams, length, expected = table[rows].sum(axis=0).tolist()
        found = sacrebleu.BLEU.compute_bleu(
            grams[:4], grams[4:], length, expected, smooth_method="exp"
        )
        return float(found.score)

    return {
        "bleu": resampled(bleu, len(table), rng),
        "chrf": mean_of(np.array(chrf)),
        "rougeL": mean_of(np.array(longest)),
    }


def resampled(
    value: Callable[[np.ndarray], float], count: int, rng: np.random.Generator
) -> Estimate:
    """A value of rows (W,) of all texts, with the spread over bootstrap resamples of them."""
    again = [value(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    return Estimate(value(np.arange(count)), float(np.std(again, ddof=1)))


def repeated(ids_WT: np.ndarray) -> Estimate:
    """Share of 4-grams that stood in the same text before (Welleck et al. 2020, rep-4)."""
    size = min(GRAM, ids_WT.shape[1])
    grams = np.lib.stride_tricks.sliding_window_view(ids_WT, size, axis=1)
    return mean_of(np.array([1 - len(np.unique(row, axis=0)) / len(row) for row in grams]))


def distinct(ids_WT: np.ndarray) -> Estimate:
    """Different pairs of neighbours over all pairs of all texts (Li et al. 2016, distinct-2).

    Its error is a jackknife over texts (Efron and Stein 1981): a resample with texts that come
    twice would have fewer different pairs than any real set of as many.
    """
    count, pairs = len(ids_WT), ids_WT.shape[1] - 1
    both = np.stack([ids_WT[:, :-1], ids_WT[:, 1:]], axis=-1).reshape(-1, 2)
    kinds = np.unique(both, axis=0, return_inverse=True)[1].reshape(count, pairs)
    texts_with = np.bincount(np.concatenate([np.unique(row) for row in kinds]))
    # Without a text its pairs that no other has are gone.
    alone = np.array([(texts_with[np.unique(row)] == 1).sum() for row in kinds])
    without = (len(texts_with) - alone) / (pairs * (count - 1))
    spread = (count - 1) * float(np.var(without))
    return Estimate(len(texts_with) / (pairs * count), spread**0.5)
