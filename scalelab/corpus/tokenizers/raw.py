"""Raw bytes: nothing is trained."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from scalelab.corpus.tokenizers import Report, kind
from scalelab.corpus.tokenizers.separators import SEPARATOR


def byte_tokenizer() -> Tokenizer:
    """One id a byte: id 0 separates documents, byte b has id b + 1."""
    characters = byte_characters()
    vocabulary = {SEPARATOR: 0} | {characters[b]: b + 1 for b in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([SEPARATOR])
    return tokenizer


def byte_characters() -> dict[int, str]:
    """The character that the byte-level alphabet of GPT-2 gives each byte.

    Printable bytes stand for themselves; the others get code points from 256 on, in order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


@kind("bytes")
def raw(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """The same for every corpus."""
    return byte_tokenizer()
