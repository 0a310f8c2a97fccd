"""Byte-level tokenizers: BPE trained on training text, or raw bytes. Id 0 separates documents."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# Set before the library starts its threads: they are wanted, and a warning at a fork is not.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from scalelab.errors import UserError

SEPARATOR = "<|endoftext|>"
SEPARATOR_ID = 0
BYTES_VOCABULARY = 257
_BATCH_CHARACTERS = 4_000_000


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
    found = tokenizer.get_vocab_size()
    if found < vocab_size:
        raise UserError(
            f"corpus.vocab_size: the training text yields only {found:,} tokens, "
            f"expected {vocab_size:,}; use a smaller vocabulary or more text"
        )
    return tokenizer


def byte_tokenizer() -> Tokenizer:
    """One id a byte: id 0 separates documents, byte b has id b + 1."""
    characters = _byte_characters()
    vocabulary = {SEPARATOR: SEPARATOR_ID} | {characters[b]: b + 1 for b in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([SEPARATOR])
    return tokenizer


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write tokenizer.json, which `transformers.PreTrainedTokenizerFast` opens."""
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8", newline="")


def encode(
    tokenizer: Tokenizer, texts: Iterable[str], progress: Callable[[int], None] | None = None
) -> Iterator[np.ndarray]:
    """Ids of each text in order, int arrays of shape (tokens,), on all cores.

    A separator that is written out in a text is text like any other, never id 0. `progress` is
    called with the number of texts done.
    """
    dtype = token_dtype(tokenizer.get_vocab_size())
    raw = tokenizer.get_vocab_size() == BYTES_VOCABULARY and not _merges(tokenizer)
    tokenizer.encode_special_tokens = True
    done = 0
    for batch in _batches(texts):
        if raw:
            for text in batch:
                codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
                yield codes.astype(dtype) + dtype.type(1)
        else:
            for found in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield np.array(found.ids, dtype=dtype)
        done += len(batch)
        if progress is not None:
            progress(done)


def check_round_trip(tokenizer: Tokenizer, texts: list[str], ids: list[np.ndarray]) -> None:
    """`UserError` unless every text is what its ids decode to, byte for byte."""
    decoded = tokenizer.decode_batch([row.tolist() for row in ids], skip_special_tokens=False)
    for text, back in zip(texts, decoded, strict=True):
        if back != text:
            raise UserError(f"corpus: the tokenizer does not give back the text {text[:60]!r}...")


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 up to 65,536 ids, uint32 above."""
    return np.dtype("<u2") if vocab_size <= 65_536 else np.dtype("<u4")


def token_byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of UTF-8 that each id stands for, shape (vocab,); 0 for the separator.

    Exact for byte-level vocabularies: a token is a string with one character a byte.
    """
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        lengths[index] = 0 if index == SEPARATOR_ID else len(token)
    return lengths


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _byte_characters() -> dict[int, str]:
    """The character that the byte-level alphabet of GPT-2 gives each byte.

    Printable bytes stand for themselves; the others get code points from 256 on, in order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def _merges(tokenizer: Tokenizer) -> bool:
    return bool(json.loads(tokenizer.to_str())["model"]["merges"])
