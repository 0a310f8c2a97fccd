"""How many bytes of the original text each token stands for, for bits per byte.

What counts is the text as it was before a normaliser, an added space or a fallback to bytes: the
bytes of a document's tokens add up to the UTF-8 bytes of the document whatever the tokenizer.
"""

import json
from typing import Any

import numpy as np
from tokenizers import Tokenizer


def byte_table(tokenizer: Tokenizer) -> np.ndarray | None:
    """Bytes of UTF-8 that each id stands for, shape (ids,), where the id alone says it; else None.

    It does in byte-level vocabularies without a normaliser and without an added space: a token is
    a string of one character a byte there. Special tokens stand for no text and have 0.
    """
    described = json.loads(tokenizer.to_str())
    if not _is_byte_level(described):
        return None
    size = int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1
    lengths = np.zeros(size, dtype=np.int64)
    for token, index in tokenizer.get_vocab(with_added_tokens=False).items():
        lengths[index] = len(token)
    for row in described["added_tokens"]:  # spelt as they are, not in the byte alphabet
        lengths[row["id"]] = 0 if row["special"] else len(row["content"].encode())
    return lengths


def bytes_of_tokens(tokenizer: Tokenizer, text: str, ids: np.ndarray) -> np.ndarray:
    """Bytes of `text` that each of its tokens stands for, int64 of shape (tokens,).

    From the library's offsets, which lead from tokens to the text before normalisation. A
    character that several tokens share (its bytes, say) counts for the first of them, text between
    tokens for the next one, and what follows the last token for that one. The sum is the number of
    bytes of `text`, unless there is no token at all.

    Raises:
        ValueError: `ids` are not what the tokenizer makes of `text`.
    """
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode(text, add_special_tokens=False)
    if found.ids != ids.tolist():
        raise ValueError("the ids are not those of the text")
    if not found.ids:
        return np.zeros(0, dtype=np.int64)
    ends = np.array([end for _, end in found.offsets], dtype=np.int64)
    reached = np.maximum.accumulate(ends)
    reached[-1] = len(text)
    return np.diff(byte_places(text)[reached], prepend=0)


def byte_places(text: str) -> np.ndarray:
    """Bytes before each character and, last, all bytes; shape (characters + 1,)."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _is_byte_level(described: dict[str, Any]) -> bool:
    steps = _steps(described["pre_tokenizer"], "pretokenizers")
    levels = [step for step in steps if step["type"] == "ByteLevel"]
    plain = all(
        step["type"] in ("ByteLevel", "Digits")
        or (step["type"] == "Split" and step["behavior"] != "Removed")
        for step in steps
    )
    decoders = _steps(described["decoder"], "decoders")
    whole = described["model"]["type"] in ("BPE", "Unigram")
    return (
        whole
        and plain
        and len(levels) == 1
        and not levels[0]["add_prefix_space"]
        and not _steps(described["normalizer"], "normalizers")
        and [step["type"] for step in decoders] == ["ByteLevel"]
    )


def _steps(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return part[inner] if part["type"] == "Sequence" else [part]
