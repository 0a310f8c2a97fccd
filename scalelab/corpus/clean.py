"""Exact and near duplicates, minimum size and the cap on bytes."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.corpus.documents import Document, Tally, order_key, utf8_size
from scalelab.corpus.near import NearDuplicates
from scalelab.corpus.store import Entry, Kept, Records, Store
from scalelab.errors import UserError

COMPARED = 2048
"""Documents that are looked up together among those before them."""


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
    shares = np.array(weights, float) / sum(weights)
    caps = [math.inf if max_bytes is None else max_bytes * share for share in shares]
    total = [0] * len(caps)
    kept = Records()
    full: set[int] = set()
    count, seen = len(store), 0
    near = None
    if near_threshold is not None:
        near = NearDuplicates(near_threshold, seed, store.folder / "signatures.bin")
    for block in _blocks(store.ordered()):
        if near is not None and len(full) < len(shares):
            near.block(store.text(entry.start, entry.size) for entry in block)
        for place, entry in enumerate(block):
            part = entry.part
            if part in full:
                removed.add("over max_bytes", entry.size)
            elif near is not None and not near.add(place):
                removed.add("near duplicate", entry.size)
            elif total[part] + entry.size > caps[part]:
                full.add(part)
                removed.add("over max_bytes", entry.size)
            else:
                kept.add(entry)
                total[part] += entry.size
        seen += len(block)
        if seen % (10 * COMPARED) == 0 and len(full) < len(shares):
            report(f"corpus: {seen:,} of {count:,} documents compared")
    entries = kept.array()
    if len(shares) > 1 and len(entries) and 0 in total:
        raise UserError(
            f"corpus.mixture: no text is left of part {total.index(0) + 1}; give it more text or a "
            "larger share of the bytes"
        )
    if len(shares) > 1 and len(full) < len(shares):
        entries = _in_proportion(entries, shares, total, full, removed, report)
    return Cleaned(Kept(store, entries), removed, int(entries["size"].sum()))


def _blocks(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while block := list(itertools.islice(entries, COMPARED)):
        yield block


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


def text_sha256(text: str) -> str:
    """Hexadecimal SHA-256 of the UTF-8 form."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
