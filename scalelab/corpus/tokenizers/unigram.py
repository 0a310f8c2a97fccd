"""Byte-level unigram language model, trained on the corpus."""

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from scalelab.corpus.tokenizers import Report, kind
from scalelab.corpus.tokenizers.bpe import require
from scalelab.corpus.tokenizers.separators import SEPARATOR

DIGITS = 6
"""Decimals kept of a log probability: sums over threads differ in the fifteenth."""
STEP = 1e-4
"""What the library lowers the score of each byte that the text does not hold by, one after the
other in an order that changes from call to call."""


def train_unigram(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Unigram model (Kudo 2018, arXiv:1804.10959) over the byte alphabet of GPT-2.

    Id 0 is the separator. All 256 bytes are pieces, so any text can be encoded and nothing is
    unknown. Scores are rounded and pieces of one score sorted, so that one text gives one file.

    Raises:
        UserError: the text has too few distinct pieces for a vocabulary of that size.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    require(tokenizer, vocab_size)
    described = json.loads(tokenizer.to_str())
    described["model"]["vocab"] = _settled(described["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(described))


def _settled(pieces: list[list[Any]]) -> list[list[Any]]:
    """Pieces in the one order that their scores allow, the separator first."""
    (separator, *rest) = pieces
    floor = min(score for _, score in rest)
    even = [[piece, round(_even(piece, score, floor), DIGITS)] for piece, score in rest]
    return [separator, *sorted(even, key=lambda row: (-row[1], row[0]))]


def _even(piece: str, score: float, floor: float) -> float:
    """The floor for a byte that the library put a whole number of steps above it."""
    steps = (score - floor) / STEP
    lowered = len(piece) == 1 and steps < 256 and abs(steps - round(steps)) < 1e-4
    return floor if lowered else score


@kind("unigram")
def unigram(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """Trained on the sample."""
    report(f"corpus: training a byte-level unigram model of {config['vocab_size']:,} tokens")
    return train_unigram(sample, config["vocab_size"])
