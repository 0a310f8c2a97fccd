"""A document, and counts of what each step of the preparation took out."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Document(NamedTuple):
    """One text with a name that says where it comes from (`torch/torch/nn/init.py`)."""

    name: str
    text: str
    part: int = 0
    """Which source of a mixture it is from."""


Place = tuple[int, ...]
"""Where in a source a file stands: its number, for a mixture after the number of its part."""


@dataclass
class Tally:
    """Documents and bytes by reason, in the order in which the reasons came up.

    A source of several files says with `begin` which one it reads, so that an interrupted reading
    can go on from there.
    """

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    part: Place = ()
    """Set by a mixture for the source of one of its parts."""
    start: Place = ()
    """Where to go on reading; empty for the beginning."""
    place: Place = ()
    """The file that is being read."""
    before: dict[str, dict[str, int]] = field(default_factory=dict)
    """The counts when its reading began."""

    def begin(self, number: int) -> None:
        """The file of that number (from 0) is read from now on."""
        self.place = (*self.part, number)
        self.before = self.as_dict()

    def first(self) -> int:
        """The number of the file to begin with; those before it were read already."""
        depth = len(self.part)
        within = len(self.start) > depth and self.start[:depth] == self.part
        return self.start[depth] if within else 0

    def add(self, reason: str, size: int) -> None:
        """Count one document of `size` bytes."""
        self.documents[reason] += 1
        self.bytes[reason] += size

    def put_back(self, counts: dict[str, dict[str, int]]) -> None:
        """Take over counts that `as_dict` gave."""
        for reason, count in counts.items():
            self.documents[reason] = count["documents"]
            self.bytes[reason] = count["bytes"]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """`{reason: {"documents": n, "bytes": n}}`."""
        return {
            reason: {"documents": count, "bytes": self.bytes[reason]}
            for reason, count in self.documents.items()
        }


def is_left_out(reason: str) -> bool:
    """Whether what a source counts under this name was left out: not what was `read`, or read as
    an encoding."""
    return not reason.startswith("read")


def utf8_size(text: str) -> int:
    """Length in bytes of the UTF-8 form."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def order_key(text: str, seed: int) -> bytes:
    """A keyed hash of a text: the place of a document in every order that the corpus uses.

    It depends on the text and the seed alone, so adding, renaming or reordering files leaves the
    other documents in their places.
    """
    key = seed.to_bytes(8, "big")
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=key).digest()
