"""What a model writes after held-out beginnings, against how they really go on.

BLEU (Papineni et al. 2002) and chrF (Popovic 2015) as sacrebleu computes them, ROUGE (Lin 2004) as
rouge-score does, by text and averaged; distinct-2 (Li et al. 2016) over all texts; repeated 4-grams
(Welleck et al. 2020, arXiv:1908.04319). Half of the context is given, a quarter is asked for.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from scalelab.errors import UserError
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

TOP_P = 0.9
"""Nucleus of sampling (Holtzman et al. 2020, arXiv:1904.09751)."""
EXACT = 4
"""Tokens that must all be right: the threshold beside the loss (Schaeffer et al. 2023)."""


@measure
def generation(subject: Subject) -> Mapping[str, Estimate]:
    """Scores of greedy and of sampled text and, for what chance is, of another window's reference;
    exact, the share of greedy texts whose first tokens are right; reference_nats, the loss of the
    reference (nats/token)."""
    half, more = subject.context // 2, max(1, subject.context // 4)
    given, true = subject.windows[:, :half], subject.windows[:, half : half + more]
    texts = {"greedy": _write(subject, given, more, False)}
    texts["sampled"] = _write(subject, given, more, True)
    texts["other"] = np.roll(true, 1, axis=0)
    tokenizer = Tokenizer.from_file(str(Path(subject.model.name_or_path) / "tokenizer.json"))
    references = tokenizer.decode_batch(true.tolist(), skip_special_tokens=False)
    found: dict[str, Estimate] = {}
    for name, ids in texts.items():
        written = tokenizer.decode_batch(ids.tolist(), skip_special_tokens=False)
        for score, values in scores(written, references).items():
            found[f"{name}_{score}"] = mean_of(values)
        found[f"{name}_repeated"] = mean_of(np.array([repeated(row) for row in ids]))
        pairs = np.stack([ids[:, :-1], ids[:, 1:]], -1).reshape(-1, 2)
        found[f"{name}_distinct"] = Estimate(len(np.unique(pairs, axis=0)) / len(pairs))
    k = min(EXACT, more)
    hits = (texts["greedy"][:, :k] == true[:, :k]).all(axis=1)
    found["exact"] = mean_of(hits.astype(float))
    losses = [
        losses_of(logits_of(subject, batch[:, :-1]).logits, batch[:, 1:])
        for batch in batches(subject.windows[:, : half + more])
    ]
    found["reference_nats"] = mean_of(np.concatenate(losses)[:, -more:].mean(axis=1))
    return found


def scores(written: list[str], references: list[str]) -> dict[str, np.ndarray]:
    """bleu, chrf (0 to 100), rouge1 and rougeL (F, 0 to 1) of each text, (W,)."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu import sentence_bleu, sentence_chrf
    except ImportError as error:
        raise UserError(
            f"evaluation.measures: generation needs {error.name}: pip install scalelab[generation]"
        ) from None
    rouge = RougeScorer(["rouge1", "rougeL"])
    pairs = list(zip(written, references, strict=True))
    both = [rouge.score(reference, text) for text, reference in pairs]
    return {
        "bleu": np.array([sentence_bleu(a, [b]).score for a, b in pairs]),
        "chrf": np.array([sentence_chrf(a, [b]).score for a, b in pairs]),
        **{name: np.array([one[name].fmeasure for one in both]) for name in ("rouge1", "rougeL")},
    }


def repeated(ids: np.ndarray) -> float:
    """Share of a text's 4-grams that stood in it before."""
    if len(ids) < 4:
        return 0.0
    grams = np.lib.stride_tricks.sliding_window_view(ids, 4)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)


def _write(subject: Subject, given_WT: np.ndarray, more: int, sample: bool) -> np.ndarray:
    """`more` ids after each beginning, (W, more), with a cache of keys and values."""
    torch.manual_seed(stream(subject.seed, "generation"))
    how = {"top_p": TOP_P, "top_k": 0} if sample else {}
    parts = []
    with torch.inference_mode():
        for batch in batches(given_WT):
            ids = batch.to(subject.model.device)
            out = subject.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=sample, use_cache=True,
                min_new_tokens=more, max_new_tokens=more, pad_token_id=subject.separator, **how,
            )  # fmt: skip
            parts.append(out[:, ids.shape[1] :].cpu().numpy())
    return np.concatenate(parts)
