"""Near duplicates by MinHash, with an index of numbers alone: the bands of each document in memory,
its signature in a file."""

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 64
SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class NearDuplicates:
    """An index of the documents that stay, by MinHash of word 5-grams.

    Broder, "On the resemblance and containment of documents", 1997: the share of equal minima
    under random permutations estimates the Jaccard similarity of two sets. Pairs are looked for
    among documents whose minima agree in all rows of at least one band (Indyk and Motwani 1998),
    with the bands that datasketch takes for the threshold.

    Documents come in blocks: `block` signs some texts, `add` decides on them one after another.
    Signatures are kept in the file `path`, which is begun anew.
    """

    def __init__(self, threshold: float, seed: int, path: Path) -> None:
        self._threshold = threshold
        # weights: a missed pair leaks text into the held-out sets, a false one costs a comparison.
        bands = MinHashLSH(
            threshold=min(threshold, 0.99), num_perm=PERMUTATIONS, weights=(0.2, 0.8)
        )
        self._bands, self._rows = bands.b, bands.r
        self._empty = MinHash(num_perm=PERMUTATIONS, seed=seed % 2**32, scheme="affine32")
        self._signatures: np.ndarray = np.empty((0, PERMUTATIONS), np.uint32)
        self._path = path
        path.write_bytes(b"")
        self._count = 0
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        """Band codes of the documents that stay, sorted, and whose they are: each of shape (bands,
        documents). A level is at least twice as long as the next, so that there are few."""
        self._start_block(np.empty((0, PERMUTATIONS), np.uint32))

    def block(self, texts: Iterable[str]) -> None:
        """Sign the next documents and look them up among those that stayed before."""
        self._settle()
        self._start_block(np.array([self._signature(text) for text in texts], np.uint32))

    def add(self, place: int) -> bool:
        """Let the document at `place` of the block stay, unless it is a near duplicate; say so."""
        codes = [(band, code) for band, code in enumerate(self._codes[:, place].tolist())]
        recent = {other for code in codes for other in self._recent.get(code, ())}
        known = self._signatures[self._older[place]] if place in self._older else None
        own = self._block[place]
        if known is not None and _alike(own, known) >= self._threshold:
            return False
        if recent and _alike(own, self._block[sorted(recent)]) >= self._threshold:
            return False
        for code in codes:
            self._recent.setdefault(code, []).append(place)
        self._stay.append(place)
        return True

    def _signature(self, text: str) -> np.ndarray:
        made = MinHash(
            num_perm=PERMUTATIONS,
            seed=self._empty.seed,
            permutations=self._empty.permutations,
            hashfunc=int,
            scheme="affine32",
        )
        made.update_batch(shingles(text).tolist())
        return made.hashvalues

    def _start_block(self, signatures: np.ndarray) -> None:
        self._block = signatures
        self._codes = self._band_codes(signatures)
        self._recent: dict[tuple[int, int], list[int]] = {}
        self._stay: list[int] = []
        self._older: dict[int, list[int]] = {}
        """Documents that stayed before and agree with one of the block in a band."""
        for codes, owners in self._levels:
            for band in range(self._bands):
                low = np.searchsorted(codes[band], self._codes[band], "left")
                high = np.searchsorted(codes[band], self._codes[band], "right")
                for place in np.flatnonzero(high > low).tolist():
                    found = owners[band, low[place] : high[place]].tolist()
                    self._older.setdefault(place, []).extend(found)

    def _band_codes(self, signatures: np.ndarray) -> np.ndarray:
        """One 64-bit number a band and document, uint64 of shape (bands, documents)."""
        used = signatures[:, : self._bands * self._rows].astype(np.uint64)
        rows = used.reshape(len(signatures), self._bands, self._rows)
        total = np.zeros(rows.shape[:2], np.uint64)
        for row in range(self._rows):
            total = (total ^ rows[:, :, row]) * _MULTIPLIER
            total ^= total >> np.uint64(29)
        return total.T

    def _settle(self) -> None:
        """Move what stays of the block into the index."""
        if not self._stay:
            return
        stay = np.array(self._stay)
        needed = self._count + len(stay)
        with open(self._path, "ab") as out:
            out.write(self._block[stay].tobytes())
        shape = (needed, PERMUTATIONS)
        self._signatures = np.memmap(self._path, dtype=np.uint32, mode="r", shape=shape)
        owners = np.arange(self._count, needed, dtype=np.uint32)
        self._count = needed
        level = _sorted(self._codes[:, stay], np.tile(owners, (self._bands, 1)))
        while self._levels and self._levels[-1][0].shape[1] < 2 * level[0].shape[1]:
            before = self._levels.pop()
            level = _sorted(*(np.hstack(pair) for pair in zip(before, level, strict=True)))
        self._levels.append(level)


def _sorted(codes: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(codes, axis=1)
    return np.take_along_axis(codes, order, 1), np.take_along_axis(owners, order, 1)


def _alike(one: np.ndarray, others: np.ndarray) -> float:
    """The largest share of equal minima."""
    return int((others == one).sum(axis=1).max()) / PERMUTATIONS


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
