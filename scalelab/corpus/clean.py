"""Exact and near duplicates, minimum size and the cap on bytes."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash, MinHashLSH

from scalelab.corpus.documents import Document, Tally, order_key, utf8_size

PERMUTATIONS = 64
SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Cleaned:
    """Documents that are left, in the order of their hash, and what was taken out."""

    documents: list[Document]
    removed: Tally
    bytes: int


def clean(
    documents: Iterable[Document],
    *,
    seed: int,
    min_bytes: int,
    near_threshold: float | None,
    max_bytes: int | None,
    report: Callable[[str], None],
) -> Cleaned:
    """Drop short documents and exact duplicates, then near duplicates, then what is over the cap.

    The order is that of a keyed hash of the text. Of a group of near duplicates the first in that
    order stays, and no two documents that stay are near duplicates of one another (as far as
    MinHash with 64 permutations sees). Documents are taken in that order until the next one would
    exceed `max_bytes`, so near duplicates are looked for only among those that are needed.
    """
    removed = Tally()
    kept_names: dict[bytes, tuple[str, str]] = {}
    for name, text in documents:
        size = utf8_size(text)
        if size < min_bytes:
            removed.add("short", size)
            continue
        key = order_key(text, seed)
        if key in kept_names:
            removed.add("exact duplicate", size)
            # The name that stays must not depend on the order of reading.
            if name >= kept_names[key][0]:
                continue
        kept_names[key] = (name, text)
    near = NearDuplicates(near_threshold, seed) if near_threshold is not None else None
    kept: list[Document] = []
    total = 0
    ordered = sorted(kept_names)
    for place, key in enumerate(ordered):
        name, text = kept_names[key]
        size = utf8_size(text)
        if near is not None and not near.add(key, text):
            removed.add("near duplicate", size)
            continue
        if max_bytes is not None and total + size > max_bytes:
            for other in ordered[place:]:
                removed.add("over max_bytes", utf8_size(kept_names[other][1]))
            break
        kept.append(Document(name, text))
        total += size
        if place % 20_000 == 19_999:
            report(f"corpus: {place + 1:,} of {len(ordered):,} documents compared")
    return Cleaned(kept, removed, total)


class NearDuplicates:
    """An index of the documents seen so far, by MinHash of word 5-grams.

    Broder, "On the resemblance and containment of documents", 1997: the share of equal minima
    under random permutations estimates the Jaccard similarity of two sets.
    """

    def __init__(self, threshold: float, seed: int) -> None:
        self._threshold = threshold
        # weights: a missed pair leaks text into the held-out sets, a false one costs a comparison.
        self._index = MinHashLSH(
            threshold=min(threshold, 0.99), num_perm=PERMUTATIONS, weights=(0.2, 0.8)
        )
        first = MinHash(num_perm=PERMUTATIONS, seed=seed % 2**32, scheme="affine32")
        self._seed = first.seed
        self._permutations = first.permutations
        self._seen: dict[bytes, MinHash] = {}

    def add(self, key: bytes, text: str) -> bool:
        """Add a document unless it is a near duplicate of one added before; say whether."""
        signature = MinHash(
            num_perm=PERMUTATIONS,
            seed=self._seed,
            permutations=self._permutations,
            hashfunc=int,
            scheme="affine32",
        )
        signature.update_batch(shingles(text).tolist())
        for other in self._index.query(signature):
            if signature.jaccard(self._seen[other]) >= self._threshold:
                return False
        self._index.insert(key, signature, check_duplication=False)
        self._seen[key] = signature
        return True


def shingles(text: str) -> np.ndarray:
    """Distinct 32-bit hashes of a text's word 5-grams, sorted.

    A text of fewer words counts as one shingle: all of its words, or itself where it has none.
    """
    words = _WORD.findall(text)
    if len(words) < SHINGLE_WORDS:
        whole = " ".join(words) or text
        return np.array([zlib.crc32(whole.encode("utf-8"))], dtype=np.uint32)
    codes = np.fromiter((zlib.crc32(w.encode("utf-8")) for w in words), np.uint64, len(words))
    count = len(words) - SHINGLE_WORDS + 1
    total = codes[:count].copy()
    for step in range(1, SHINGLE_WORDS):
        total *= _MULTIPLIER
        total ^= total >> np.uint64(29)
        total += codes[step : step + count]
    total *= _MULTIPLIER
    return np.unique((total >> np.uint64(32)).astype(np.uint32))


def text_sha256(text: str) -> str:
    """Hexadecimal SHA-256 of the UTF-8 form."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
