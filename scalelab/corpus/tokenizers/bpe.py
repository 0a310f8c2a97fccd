"""Byte-level BPE, trained on the corpus."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from scalelab.corpus.tokenizers import Report, kind
from scalelab.corpus.tokenizers.separators import SEPARATOR
from scalelab.errors import UserError


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016; byte alphabet of GPT-2) with `vocab_size` ids.

    Id 0 is the separator and the next 256 are the bytes, so any text can be encoded.

    Raises:
        UserError: the text has too few distinct pairs for a vocabulary of that size.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    require(tokenizer, vocab_size)
    return tokenizer


def require(tokenizer: Tokenizer, vocab_size: int) -> None:
    """`UserError` where the text was too little for a vocabulary of that size."""
    found = tokenizer.get_vocab_size()
    if found < vocab_size:
        raise UserError(
            f"corpus.vocab_size: the training text yields only {found:,} tokens, "
            f"expected {vocab_size:,}; use a smaller vocabulary or more text"
        )


@kind("bpe")
def bpe(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """Trained on the sample."""
    report(f"corpus: training a byte-level BPE of {config['vocab_size']:,} tokens")
    return train_bpe(sample, config["vocab_size"])
