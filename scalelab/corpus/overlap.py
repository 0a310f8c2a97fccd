"""Windows of tokens that stand verbatim elsewhere, found by 64-bit hashes in bounded memory."""

from collections.abc import Iterator

import numpy as np

_BLOCK = 4_000_000
_TABLE_BITS = 26


def window_hashes(ids: np.ndarray, width: int, table: np.ndarray) -> np.ndarray:
    """Hashes of all windows of `width` tokens: uint64, shape (len(ids) - width + 1,).

    H(i) = sum over k of table[ids[i + k]] * M^(width - 1 - k) modulo 2^64, the polynomial hash of
    Karp and Rabin (1987), built by doubling: a window of a + b tokens from one of a and one of b.
    """
    count = len(ids) - width + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    power = table[ids]
    span, done = 1, 0
    total: np.ndarray | None = None
    remaining = width
    while True:
        if remaining & 1:
            if total is None:
                total = power
            else:
                # The windows in `total` come first, those in `power` follow after `done` tokens.
                size = len(ids) - done - span + 1
                total = total[:size] * _factor(span) + power[done : done + size]
            done += span
        remaining >>= 1
        if not remaining:
            break
        size = len(ids) - 2 * span + 1
        power = power[:size] * _factor(span) + power[span : span + size]
        span *= 2
    assert total is not None
    return total[:count]


def random_table(vocab_size: int, seed: int) -> np.ndarray:
    """A random odd-spread 64-bit code for each token id, shape (vocab,)."""
    return np.random.default_rng(seed).integers(0, 2**64, vocab_size, dtype=np.uint64)


def blocks(ids: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Parts of a stream that overlap by `width - 1`, so that each window is in exactly one."""
    for start in range(0, max(len(ids) - width + 1, 0), _BLOCK):
        yield ids[start : start + _BLOCK + width - 1]


class HashSet:
    """A fixed set of 64-bit hashes with a fast test for large arrays."""

    def __init__(self, hashes: np.ndarray) -> None:
        self.values = np.unique(hashes)
        bits = min(_TABLE_BITS, max(10, len(self.values).bit_length() + 4))
        self._shift = np.uint64(64 - bits)
        # A cheap first test by the top bits leaves few hashes for the binary search.
        self._filter = np.zeros(1 << bits, dtype=bool)
        self._filter[(self.values >> self._shift).astype(np.int64)] = True

    def places(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(positions in `hashes` that are members, their index in `values`)."""
        if not len(self.values):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        maybe = np.flatnonzero(self._filter[(hashes >> self._shift).astype(np.int64)])
        index = np.searchsorted(self.values, hashes[maybe])
        index[index == len(self.values)] = 0
        hit = self.values[index] == hashes[maybe]
        return maybe[hit], index[hit]


def repeated_elsewhere(
    documents: list[np.ndarray], rest: np.ndarray, width: int, table: np.ndarray
) -> list[np.ndarray]:
    """For each document, which of its tokens lie in a window that stands in another document.

    Args:
        documents: ids of the documents to be cleaned.
        rest: the stream of all other documents, separators between them.
        width: tokens of a window.
        table: from `random_table`.

    Returns:
        One bool array a document, of its length. The relation is symmetric: whichever documents
        are put aside in the end, none shares a window with any other document, in part or whole.
    """
    hashes = [window_hashes(ids, width, table) for ids in documents]
    known = HashSet(np.concatenate([np.empty(0, np.uint64), *hashes]))
    found = np.zeros(len(known.values), dtype=bool)
    owner = np.full(len(known.values), -1, dtype=np.int64)
    for number, row in enumerate(hashes):
        index = np.searchsorted(known.values, row)
        found[index[(owner[index] >= 0) & (owner[index] != number)]] = True
        owner[index] = number
    for block in blocks(rest, width):
        _, index = known.places(window_hashes(block, width, table))
        found[index] = True
    return [
        _cover(found[np.searchsorted(known.values, row)], len(ids), width)
        for ids, row in zip(documents, hashes, strict=True)
    ]


def shared_windows(
    stream: np.ndarray, other: np.ndarray, width: int, separator: int, table: np.ndarray
) -> tuple[int, int]:
    """(windows of `stream` that stand in `other`, windows of `stream`).

    Windows that contain a separator are not counted: they join unrelated texts.
    """
    row = window_hashes(stream, width, table)
    inside = ~_cover_back(stream == separator, width)[: len(row)]
    row = row[inside]
    known = HashSet(row)
    found = np.zeros(len(known.values), dtype=bool)
    for block in blocks(other, width):
        _, index = known.places(window_hashes(block, width, table))
        found[index] = True
    return int(found[np.searchsorted(known.values, row)].sum()), len(row)


def free_runs(covered: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """(start, end) of the runs of uncovered tokens that are at least `shortest` long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], covered, [True]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    return [(int(start), int(end)) for start, end in pairs if end - start >= shortest]


def _factor(span: int) -> np.uint64:
    # M^span modulo 2^64; Python's pow is exact where numpy would warn about wrapping.
    return np.uint64(pow(0x9E3779B97F4A7C15, span, 2**64))


def _cover(starts: np.ndarray, length: int, width: int) -> np.ndarray:
    """Tokens inside any window that starts where `starts` is true."""
    steps = np.zeros(length + 1, dtype=np.int64)
    where = np.flatnonzero(starts)
    np.add.at(steps, where, 1)
    np.add.at(steps, where + width, -1)
    return np.cumsum(steps[:-1]) > 0


def _cover_back(marks: np.ndarray, width: int) -> np.ndarray:
    """Window starts whose window contains a mark."""
    total = np.concatenate([[0], np.cumsum(marks)])
    last = np.minimum(np.arange(len(marks)) + width, len(marks))
    return total[last] > total[:-1]
