"""The part of the hash range whose documents are never trained on, whatever is added to a corpus.

A document's place in the order is a keyed hash of its text alone, evenly spread over the range.
Without a zone the first documents are held out, as many as are needed: each document that is added
among them moves the last of them into training.
"""

import math
from dataclasses import dataclass

import numpy as np

UNUSED = "held-out share, not needed"
"""What documents of the zone are counted under that no held-out set has taken."""
LARGEST_SHARE = 0.5
"""Held-out documents come from the first half of the range at most: the tokenizer learns from the
other one."""


@dataclass(frozen=True)
class Zone:
    """The first `share` of the hash range. places: see `places_of`, rising."""

    share: float
    places: np.ndarray

    def end(self, share: float | None = None) -> int:
        """How many documents lie in the zone, or in the first `share` of the range."""
        return int(np.searchsorted(self.places, self.share if share is None else share))

    def share_with(self, document: int) -> float:
        """The least share in whole percent whose zone has this document."""
        return math.floor(100 * float(self.places[document]) + 1) / 100


def places_of(keys: np.ndarray) -> np.ndarray:
    """Where documents stand in the hash range, 0 to 1, shape (documents,).

    Args:
        keys: `documents.order_key` of each, as an array of 16 bytes an item.
    """
    return np.frombuffer(keys.tobytes(), dtype=">u8")[::2].astype(np.float64) / 2.0**64
