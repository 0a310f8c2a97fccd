"""Held-out sets: whole documents by the order of their hash, cut free of text seen elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scalelab.corpus.overlap import free_runs, repeated_elsewhere
from scalelab.corpus.rows import Rows
from scalelab.corpus.zone import LARGEST_SHARE, Zone
from scalelab.errors import UserError

SHORTEST_PIECE = 64
SHARES = (50, 20, 8, 4)
"""A held-out document may fill at most 1/50 of its split; more only where the corpus has too few
documents for that."""
SMALLEST_CAP = 256
"""Tokens that a held-out document may always have."""
LOOKED_AT = 30_000_000
"""Tokens that are looked at for the held-out sets in the end, or eight times those that are wanted,
if the documents that do at first do not suffice: each takes 17 bytes of memory."""


@dataclass
class HeldOut:
    """A held-out split: `ids` starts with a separator, pieces follow with separators between."""

    name: str
    ids: np.ndarray
    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, end, document): token offsets in `ids`, separators left out, and which document."""
    documents: list[int] = field(default_factory=list)
    """Indices of the documents that have pieces, in order."""
    starts: list[int] = field(default_factory=list)
    """Where each piece begins in the tokens of its document."""


@dataclass(frozen=True)
class Split:
    """The held-out sets, the documents used up by them, and what was cut away."""

    heldout: list[HeldOut]
    used: int
    """The first `used` documents were looked at for the held-out sets."""
    seen_tokens: int
    overlap_tokens: int
    short_tokens: int
    capped_tokens: int
    documents_without_piece: int
    largest_share: float
    """Share of a split that one document was allowed to fill."""
    zone: int = 0
    """The first `zone` documents, `used` or more, are never trained on; the rest is."""


def split(
    ids: Rows,
    *,
    sizes: dict[str, int],
    available: int,
    overlap_tokens: int,
    table: np.ndarray,
    report: Callable[[str], None],
    zone: Zone | None = None,
) -> Split:
    """Take documents in order into each split until it holds exactly its number of tokens.

    Spans covered by a window of `overlap_tokens` tokens that stands in any other document, held
    out or not, are cut out first; what is left becomes pieces of at least 64 tokens.

    Args:
        ids: token ids of each document, in the order of their hash.
        sizes: tokens of each held-out split, separators included.
        available: documents from the front that may be held out.
        overlap_tokens: width of a window; 0 leaves documents whole.
        zone: the part of the hash range that the `available` documents are, if they are one; what
            the splits leave of them is not trained on either.
        table: from `overlap.random_table`.

    Raises:
        UserError: the documents do not suffice; the message has the counts.
    """
    lengths = ids.lengths
    wanted = sum(sizes.values())
    result, covered = None, []
    # Which spans of a document are free does not depend on how many documents are looked at, so
    # the search starts with as many as are likely to do.
    for tokens in (wanted * 3 // 2, wanted * 3):
        count = _reach(lengths[:available], tokens, min(sizes.values()))
        covered = _covered(ids, count, overlap_tokens, table)
        result = fill(ids, covered, sizes, SHARES[0], ids.separator)
        if result is not None:
            break
    else:
        looked = max(count, _bounded(lengths, available, wanted))
        covered = _covered(ids, looked, overlap_tokens, table)
        tries = (fill(ids, covered, sizes, most, ids.separator) for most in SHARES)
        result = next((found for found in tries if found is not None), None)
    if result is None:
        free = sum(int((~row).sum()) for row in covered)
        if zone is not None:
            raise UserError(_zone_too_small(ids, sizes, overlap_tokens, table, zone))
        raise UserError(
            f"corpus: too small: {wanted:,} held-out tokens are wanted "
            f"({', '.join(f'{k} {v:,}' for k, v in sizes.items())}), at most a quarter of a split "
            f"from one document, but the half of the text that may be held out has {available:,} "
            f"documents{_first(looked, available)} with {free:,} tokens that stand nowhere else; "
            "the whole text has "
            f"{len(ids):,} documents with {int(lengths.sum()):,} tokens"
        )
    cut = result.overlap_tokens / max(result.seen_tokens, 1)
    report(
        f"corpus: held out {result.used:,} documents; "
        f"{cut:.1%} of their tokens stood elsewhere and were cut out"
    )
    if result.largest_share > 1 / SHARES[0]:
        report(
            f"corpus: few documents: one may fill {result.largest_share:.0%} of a held-out split"
        )
    return replace(result, zone=result.used if zone is None else available)


def _zone_too_small(
    ids: Rows, sizes: dict[str, int], width: int, table: np.ndarray, zone: Zone
) -> str:
    """The sentence for a zone without enough tokens, with a share that does."""
    count, wanted = zone.end(), sum(sizes.values())
    looked = _bounded(ids.lengths, zone.end(LARGEST_SHARE), wanted)
    covered = _covered(ids, looked, width, table)
    tries = (fill(ids, covered, sizes, most, ids.separator) for most in SHARES)
    enough = next((found for found in tries if found is not None), None)
    free = sum(int((~row).sum()) for row in covered[:count])
    if enough is not None:
        advice = f"a share of {zone.share_with(enough.used - 1):g} would do"
    else:
        advice = (
            f"no share up to {LARGEST_SHARE:g} would do: hold out fewer or give the corpus more "
            f"text than its {len(ids):,} documents with {int(ids.lengths.sum()):,} tokens"
        )
    return (
        f"corpus.heldout_share: too small: {wanted:,} held-out tokens are wanted "
        f"({', '.join(f'{k} {v:,}' for k, v in sizes.items())}), at most a quarter of a split from "
        f"one document, but the first {zone.share:g} of the hash range has {count:,} documents"
        f"{_first(looked, count)} with {free:,} tokens that stand nowhere else; {advice}"
    )


def _bounded(lengths: np.ndarray, count: int, wanted: int) -> int:
    """How many of the first `count` documents may be looked at, by the tokens in them."""
    most = max(LOOKED_AT, 8 * wanted)
    return min(count, int(np.searchsorted(np.cumsum(lengths[:count]), most)) + 1)


def _first(looked: int, count: int) -> str:
    return "" if looked >= count else f", the first {looked:,} of them"


def _reach(lengths: np.ndarray, tokens: int, smallest: int) -> int:
    """How many documents from the front hold about `tokens` tokens after the cap."""
    total = np.cumsum(np.minimum(lengths, cap(smallest, SHARES[0])))
    return min(int(np.searchsorted(total, tokens)) + 1, len(lengths))


def cap(size: int, share: int) -> int:
    """Tokens that one document may fill of a split of `size` tokens."""
    return max(SMALLEST_CAP, size // share)


def _covered(ids: Rows, count: int, width: int, table: np.ndarray) -> list[np.ndarray]:
    if not width:
        return [np.zeros(len(row), dtype=bool) for row in ids[:count]]
    return repeated_elsewhere(ids[:count], ids.after(count), width, table)


def fill(
    ids: Sequence[np.ndarray],
    covered: list[np.ndarray],
    sizes: dict[str, int],
    share: int,
    separator: int,
) -> Split | None:
    """The splits, or None when the documents looked at do not suffice.

    Args:
        ids: token ids of each document.
        covered: for the documents that may be taken, which of their tokens are cut out.
        sizes: tokens of each split, separators included.
        share: one document fills at most 1/share of a split.
        separator: the id between documents.
    """
    dtype = ids[0].dtype
    heldout: list[HeldOut] = []
    place = seen = overlap = short = capped = empty = 0
    for name, size in sizes.items():
        parts = [np.full(1, separator, dtype=dtype)]
        held = HeldOut(name, parts[0])
        room = size - 1
        while room > 0:
            if place == len(covered):
                return None
            runs = free_runs(covered[place], SHORTEST_PIECE)
            taken = 0
            for start, end in runs:
                length = min(end - start, cap(size, share) - taken, room)
                if room <= 0 or length < min(SHORTEST_PIECE, room):
                    break
                at = size - room
                held.pieces.append((at, at + length, place))
                held.starts.append(start)
                parts.append(ids[place][start : start + length])
                taken += length
                room -= length
                if room > 0:
                    parts.append(np.full(1, separator, dtype=dtype))
                    room -= 1
            free = int((~covered[place]).sum())
            long = sum(end - start for start, end in runs)
            seen += len(covered[place])
            overlap += len(covered[place]) - free
            short += free - long
            capped += long - taken
            if taken:
                held.documents.append(place)
            else:
                empty += 1
            place += 1
        held.ids = np.concatenate(parts)
        heldout.append(held)
    return Split(heldout, place, seen, overlap, short, capped, empty, 1 / share)
