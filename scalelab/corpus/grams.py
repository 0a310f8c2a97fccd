"""Runs of words as 64-bit hashes, to find text of one set in another."""

import re
import unicodedata
import zlib

import numpy as np

# A character of Chinese or Japanese script counts as a word, since no spaces part their words.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|(?:(?![{_IDEOGRAPH}])[\w\u0300-\u036f])+")
_ASCII_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the words of a text and where they stand.

    A word is a run of letters, digits and underscores; capitals, punctuation and compatibility
    forms make no difference (Brown et al. 2020, appendix C: lower case, no punctuation).

    Returns:
        Codes of 32 bits, uint64 of shape (words,), and start and end in characters, int64 of shape
        (words, 2).
    """
    pattern = _ASCII_WORD if text.isascii() else _WORD
    spans = [match.span() for match in pattern.finditer(text)]
    codes = np.fromiter((_code(text[a:b]) for a, b in spans), np.uint64, len(spans))
    return codes, np.array(spans, dtype=np.int64).reshape(-1, 2)


def _code(word: str) -> int:
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word)
    return zlib.crc32(word.casefold().encode("utf-8"))


def gram_hashes(codes: np.ndarray, width: int) -> np.ndarray:
    """Hashes of all runs of `width` words, uint64 of shape (words - width + 1,)."""
    count = max(len(codes) - width + 1, 0)
    total = np.zeros(count, dtype=np.uint64)
    for step in range(width if count else 0):
        total *= _MULTIPLIER
        total ^= total >> np.uint64(29)
        total += codes[step : step + count]
    total *= _MULTIPLIER
    return total ^ (total >> np.uint64(32))
