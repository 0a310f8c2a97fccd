"""The part of the hash range whose documents are never trained on, whatever is added to a corpus.

A document's place in the order is a keyed hash of its text alone, evenly spread over the range.
Without a zone the first documents are held out, as many as are needed: each document that is added
among them moves the last of them into training.
"""

import math
from collections.abc import Sequence

import numpy as np

from scalelab.corpus.documents import Document, order_key

LARGEST_SHARE = 0.5
"""Held-out documents come from the first half of the order at most: the tokenizer learns from the
other one."""
MARGIN = 1.1
"""A share that is proposed is larger by this factor than the one that would just do."""


def place(key: bytes) -> float:
    """Where a document stands in the hash range, 0 to 1, from its `order_key`."""
    return int.from_bytes(key[:8], "big") / 2**64


def zone_end(documents: Sequence[Document], seed: int, share: float) -> int:
    """How many of the documents, which are in the order of their hash, lie in the first `share`."""
    low, high = 0, len(documents)
    while low < high:
        middle = (low + high) // 2
        if place(order_key(documents[middle].text, seed)) < share:
            low = middle + 1
        else:
            high = middle
    return low


def sufficient_share(
    lengths: np.ndarray, usable: int, wanted: int, share: float, most: int
) -> float | None:
    """A share of the hash range that is likely to hold the tokens wanted; None where none does.

    Args:
        lengths: tokens of each document of the corpus, shape (documents,).
        usable: tokens that the zone of `share` has for the held-out splits.
        wanted: tokens of the held-out splits.
        share: the share that did not do.
        most: tokens that one document may give.
    """
    # Of an empty zone nothing is known: then all documents tell what a share holds.
    per_share = usable / share if usable else float(np.minimum(lengths, most).sum())
    if not per_share:
        return None
    needed = math.ceil(100 * MARGIN * wanted / per_share) / 100
    needed = max(needed, math.ceil(100 * (share + 0.005)) / 100)
    return needed if needed <= LARGEST_SHARE else None
