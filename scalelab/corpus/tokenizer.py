"""Texts to ids and back, on all cores: what is the same for every kind of tokenizer."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

# Set before the library starts its threads: they are wanted, and a warning at a fork is not.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
from tokenizers import Encoding, Tokenizer

from scalelab.corpus.dtype import token_dtype
from scalelab.corpus.tokenizers.bpe import train_bpe as train_bpe
from scalelab.corpus.tokenizers.raw import byte_tokenizer as byte_tokenizer
from scalelab.corpus.tokenizers.separators import SEPARATOR as SEPARATOR
from scalelab.errors import UserError

_BATCH_CHARACTERS = 4_000_000


def size_of(tokenizer: Tokenizer) -> int:
    """Size of the vocabulary of a model: the largest id and one more, holes counted."""
    return int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write tokenizer.json, which `transformers.PreTrainedTokenizerFast` opens."""
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8", newline="")


def encode(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    progress: Callable[[int], None] | None = None,
    separator: int = 0,
) -> Iterator[np.ndarray]:
    """Ids of each text in order, int arrays of shape (tokens,), on all cores.

    A special token that is written out in a text is text like any other, and none is added.
    `progress` is called with the number of texts done. `texts` is read a batch at a time.

    Raises:
        UserError: the tokenizer reads its separator in a text all the same.
    """
    dtype = token_dtype(size_of(tokenizer))
    raw = tokenizer.to_str() == byte_tokenizer().to_str()
    tokenizer.encode_special_tokens = True
    done = 0
    for batch, rows in _raw(texts, dtype) if raw else _encoded(tokenizer, texts, dtype):
        for text, ids in zip(batch, rows, strict=True):
            if (ids == separator).any():
                raise UserError(
                    f"corpus: the tokenizer reads its separator (id {separator}) in the text "
                    f"{text[:60]!r}...; name another token with corpus.separator"
                )
            yield ids
        done += len(batch)
        if progress is not None:
            progress(done)


Encoded = Iterator[tuple[list[str], Iterator[np.ndarray]]]


def _raw(texts: Iterable[str], dtype: np.dtype) -> Encoded:
    """Bytes, without the library."""
    for batch in _batches(texts):
        codes = (np.frombuffer(text.encode("utf-8"), dtype=np.uint8) for text in batch)
        yield batch, (row.astype(dtype) + dtype.type(1) for row in codes)


def _encoded(tokenizer: Tokenizer, texts: Iterable[str], dtype: np.dtype) -> Encoded:
    """By the library, which encodes a batch while the one before it is turned into arrays."""

    def encode_batch(batch: list[str]) -> list[Encoding]:
        return tokenizer.encode_batch_fast(batch, add_special_tokens=False)

    waiting: deque[tuple[list[str], Future[list[Encoding]]]] = deque()
    with ThreadPoolExecutor(1) as beside:
        for batch in _batches(texts):
            waiting.append((batch, beside.submit(encode_batch, batch)))
            if len(waiting) > 1:
                first, found = waiting.popleft()
                yield first, (np.array(one.ids, dtype=dtype) for one in found.result())
        for first, found in waiting:
            yield first, (np.array(one.ids, dtype=dtype) for one in found.result())


def check_round_trip(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    ids: Sequence[np.ndarray],
    names: Sequence[str] | None = None,
) -> None:
    """`UserError` unless every text is what its ids decode to, byte for byte.

    It names the document (`names`, in the order of the texts) and the first difference.
    """
    decoded = tokenizer.decode_batch([row.tolist() for row in ids], skip_special_tokens=False)
    for number, (text, back) in enumerate(zip(texts, decoded, strict=True)):
        if back != text:
            where = names[number] if names is not None else f"document {number + 1}"
            at = first_difference(text, back)
            raise UserError(
                f"corpus: {where}: the tokenizer does not give back its text: character {at + 1:,} "
                f"is {_around(text, at)}, decoded it is {_around(back, at)}; choose one that loses "
                "nothing, or set corpus.round_trip: false, which makes bits per byte too low"
            )


def first_difference(text: str, back: str) -> int:
    """Place of the first character in which two texts differ."""
    shorter = min(len(text), len(back))
    return next((at for at in range(shorter) if text[at] != back[at]), shorter)


def _around(text: str, at: int) -> str:
    return repr(text[at : at + 20]) if at < len(text) else "the end"


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
