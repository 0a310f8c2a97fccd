"""Held-out sets: whole documents by the order of their hash, cut free of text seen elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from scalelab.corpus.overlap import free_runs, repeated_elsewhere
from scalelab.corpus.rows import Rows
from scalelab.corpus.tokenizer import SEPARATOR_ID
from scalelab.errors import UserError

SHORTEST_PIECE = 64
SHARES = (50, 20, 8, 4)
"""A held-out document may fill at most 1/50 of its split; more only where the corpus has too few
documents for that."""
SMALLEST_CAP = 256
"""Tokens that a held-out document may always have."""


@dataclass
class HeldOut:
    """A held-out split: `ids` starts with a separator, pieces follow with separators between."""

    name: str
    ids: np.ndarray
    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, end, document): token offsets in `ids`, separators left out, and which document."""
    documents: list[int] = field(default_factory=list)
    """Indices of the documents that have pieces, in order."""


@dataclass(frozen=True)
class Split:
    """The held-out sets, the documents used up by them, and what was cut away."""

    heldout: list[HeldOut]
    used: int
    """The first `used` documents are held out; the rest is for training."""
    seen_tokens: int
    overlap_tokens: int
    short_tokens: int
    capped_tokens: int
    documents_without_piece: int
    largest_share: float
    """Share of a split that one document was allowed to fill."""


def split(
    ids: Rows,
    *,
    sizes: dict[str, int],
    available: int,
    overlap_tokens: int,
    table: np.ndarray,
    report: Callable[[str], None],
) -> Split:
    """Take documents in order into each split until it holds exactly its number of tokens.

    Spans covered by a window of `overlap_tokens` tokens that stands in any other document, held
    out or not, are cut out first; what is left becomes pieces of at least 64 tokens.

    Args:
        ids: token ids of each document, in the order of their hash.
        sizes: tokens of each held-out split, separators included.
        available: documents from the front that may be held out.
        overlap_tokens: width of a window; 0 leaves documents whole.
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
        result = _fill(ids, covered, sizes, SHARES[0])
        if result is not None:
            break
    else:
        covered = _covered(ids, available, overlap_tokens, table)
        tries = (_fill(ids, covered, sizes, share) for share in SHARES)
        result = next((found for found in tries if found is not None), None)
    if result is None:
        free = sum(int((~row).sum()) for row in covered)
        raise UserError(
            f"corpus: too small: {wanted:,} held-out tokens are wanted "
            f"({', '.join(f'{k} {v:,}' for k, v in sizes.items())}), at most a quarter of a split "
            f"from one document, but the half of the text that may be held out has {available:,} "
            f"documents with {free:,} tokens that stand nowhere else; the whole text has "
            f"{len(ids):,} documents with {int(lengths.sum()):,} tokens"
        )
    share = result.overlap_tokens / max(result.seen_tokens, 1)
    report(
        f"corpus: held out {result.used:,} documents; "
        f"{share:.1%} of their tokens stood elsewhere and were cut out"
    )
    if result.largest_share > 1 / SHARES[0]:
        report(
            f"corpus: few documents: one may fill {result.largest_share:.0%} of a held-out split"
        )
    return result


def _reach(lengths: np.ndarray, tokens: int, smallest: int) -> int:
    """How many documents from the front hold about `tokens` tokens after the cap."""
    total = np.cumsum(np.minimum(lengths, _cap(smallest, SHARES[0])))
    return min(int(np.searchsorted(total, tokens)) + 1, len(lengths))


def _cap(size: int, share: int) -> int:
    return max(SMALLEST_CAP, size // share)


def _covered(ids: Rows, count: int, width: int, table: np.ndarray) -> list[np.ndarray]:
    if not width:
        return [np.zeros(len(row), dtype=bool) for row in ids[:count]]
    return repeated_elsewhere(ids[:count], ids.after(count), width, table)


def _fill(ids: Rows, covered: list[np.ndarray], sizes: dict[str, int], share: int) -> Split | None:
    """The splits, or None when the documents looked at do not suffice."""
    heldout: list[HeldOut] = []
    place = seen = overlap = short = capped = empty = 0
    for name, size in sizes.items():
        parts = [np.full(1, SEPARATOR_ID, dtype=ids.stream.dtype)]
        held = HeldOut(name, parts[0])
        room = size - 1
        while room > 0:
            if place == len(covered):
                return None
            runs = free_runs(covered[place], SHORTEST_PIECE)
            taken = 0
            for start, end in runs:
                length = min(end - start, _cap(size, share) - taken, room)
                if room <= 0 or length < min(SHORTEST_PIECE, room):
                    break
                at = size - room
                held.pieces.append((at, at + length, place))
                parts.append(ids[place][start : start + length])
                taken += length
                room -= length
                if room > 0:
                    parts.append(np.full(1, SEPARATOR_ID, dtype=ids.stream.dtype))
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
