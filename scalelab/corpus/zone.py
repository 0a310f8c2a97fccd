"""The part of the hash range whose documents are never trained on, whatever is added to a corpus.

A document's place in the order is a keyed hash of its text alone, evenly spread over the range.
Without a zone the first documents are held out, as many as are needed: each document that is added
among them moves the last of them into training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scalelab.corpus.documents import Document, order_key

LARGEST_SHARE = 0.5
"""Held-out documents come from the first half of the range at most: the tokenizer learns from the
other one."""


@dataclass(frozen=True)
class Zone:
    """The first `share` of the range of a hash whose key is `seed`."""

    seed: int
    share: float

    def place(self, document: Document) -> float:
        """Where a document stands in the range, 0 to 1."""
        return int.from_bytes(order_key(document.text, self.seed)[:8], "big") / 2**64

    def end(self, documents: Sequence[Document]) -> int:
        """How many of the documents, which are in the order of their hash, lie in the zone."""
        low, high = 0, len(documents)
        while low < high:
            middle = (low + high) // 2
            if self.place(documents[middle]) < self.share:
                low = middle + 1
            else:
                high = middle
        return low

    def largest(self) -> "Zone":
        """The largest zone of this hash."""
        return replace(self, share=LARGEST_SHARE)

    def share_with(self, document: Document) -> float:
        """The least share in whole percent whose zone has this document."""
        return math.floor(100 * self.place(document) + 1) / 100
