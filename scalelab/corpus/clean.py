"""Exact and near duplicates, minimum size and the cap on bytes."""

import hashlib
import math
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash, MinHashLSH

from scalelab.corpus.documents import Document, Tally, order_key, utf8_size
from scalelab.corpus.store import Kept, Records, Store
from scalelab.errors import UserError

PERMUTATIONS = 64
SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Cleaned:
    """Documents that are left, in the order of their hash, and what was taken out."""

    documents: Kept
    removed: Tally
    bytes: int


def collect(
    documents: Iterable[Document], store: Store, seed: int, min_bytes: int, removed: Tally
) -> None:
    """Put documents into a store, without short ones and exact duplicates."""
    for document in documents:
        size = utf8_size(document.text)
        if size < min_bytes:
            removed.add("short", size)
        elif not store.add(order_key(document.text, seed), document):
            removed.add("exact duplicate", size)


def select(
    store: Store,
    *,
    seed: int,
    near_threshold: float | None,
    max_bytes: int | None,
    weights: Sequence[float],
    removed: Tally,
    report: Callable[[str], None],
) -> Cleaned:
    """Drop near duplicates, then what is over the cap.

    The order is that of a keyed hash of the text. Of a group of near duplicates the first in that
    order stays, and no two documents that stay are near duplicates of one another (as far as
    MinHash with 64 permutations sees). Documents are taken in that order until the next one would
    exceed `max_bytes`, so near duplicates are looked for only among those that are needed.

    The parts of a mixture have a cap each, in proportion to `weights`. Where one of them has too
    little text, or there is no `max_bytes`, the caps are the largest that all parts can fill.
    """
    near = NearDuplicates(near_threshold, seed) if near_threshold is not None else None
    shares = np.array(weights, float) / sum(weights)
    caps = [math.inf if max_bytes is None else max_bytes * share for share in shares]
    total = [0] * len(caps)
    kept = Records()
    full: set[int] = set()
    count = len(store)
    for place, entry in enumerate(store.ordered()):
        part = entry.part
        if part in full:
            removed.add("over max_bytes", entry.size)
            continue
        if near is not None and not near.add(entry.key, store.text(entry.start, entry.size)):
            removed.add("near duplicate", entry.size)
            continue
        if total[part] + entry.size > caps[part]:
            full.add(part)
            removed.add("over max_bytes", entry.size)
            continue
        kept.add(entry)
        total[part] += entry.size
        if place % 20_000 == 19_999:
            report(f"corpus: {place + 1:,} of {count:,} documents compared")
    entries = kept.array()
    if len(shares) > 1 and len(full) < len(shares):
        entries = _in_proportion(entries, shares, total, full, removed, report)
    return Cleaned(Kept(store, entries), removed, int(entries["size"].sum()))


def _in_proportion(
    entries: np.ndarray,
    shares: np.ndarray,
    total: list[int],
    full: set[int],
    removed: Tally,
    report: Callable[[str], None],
) -> np.ndarray:
    """The documents of a mixture cut to what its scarcest part allows."""
    open_parts = [part for part in range(len(shares)) if part not in full]
    scarce = min(open_parts, key=lambda part: total[part] / shares[part])
    if not total[scarce]:
        raise UserError(f"corpus.mixture: no text is left of part {scarce + 1}")
    whole = total[scarce] / shares[scarce]
    report(
        f"corpus: part {scarce + 1} of the mixture has {total[scarce] / 1e6:,.1f} MB, its share of "
        f"{shares[scarce]:.1%} allows {whole / 1e6:,.1f} MB in all"
    )
    stays = np.zeros(len(entries), dtype=bool)
    for part, share in enumerate(shares):
        places = np.flatnonzero(entries["part"] == part)
        fits = np.cumsum(entries["size"][places]) <= whole * share * (1 + 1e-9)
        stays[places[fits]] = True
    for size in entries["size"][~stays].tolist():
        removed.add("over the share of its part", size)
    return entries[stays]


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
