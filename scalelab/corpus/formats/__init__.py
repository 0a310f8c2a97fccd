"""Kinds of files, by their ending: one file a kind, each registers a reader of documents.

A reader is a function `(name, stream, config) -> Iterator[Row]` over the unpacked bytes. It holds
one document at a time and yields what is wrong with a document in place of its text, so that the
source decides whether to stop. A new kind is one new file in this folder with a `@reader` function,
and its ending in `scalelab.plan.files.FORMATS`.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

MAX_DOCUMENT = 64_000_000
"""Bytes of the largest document: one that is longer is a corpus of its own."""


class Row(NamedTuple):
    """A document of a file."""

    place: str
    """Where it stands: the file and a line or row in it."""
    text: str | None
    """Its text; None where the file says that there is none."""
    wrong: str | None = None
    """What is wrong with it: a sentence that begins with the place."""


Reader = Callable[[str, BinaryIO, dict[str, Any]], Iterator[Row]]


class Kind(NamedTuple):
    """How files of an ending are read."""

    read: Reader
    seekable: bool
    """Whether the stream must be one to seek in."""


_KINDS: dict[str, Kind] = {}


def reader(*endings: str, seekable: bool = False) -> Callable[[Reader], Reader]:
    """Register a function for files with these endings."""

    def register(function: Reader) -> Reader:
        for ending in endings:
            if ending in _KINDS:
                raise ValueError(f"files in {ending!r} are registered twice")
            _KINDS[ending] = Kind(function, seekable)
        return function

    return register


@functools.cache
def kinds() -> dict[str, Kind]:
    """All kinds by their ending."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_KINDS)


def too_long(place: str) -> str:
    """The sentence for a document without an end in sight."""
    return f"{place}: a document of more than {MAX_DOCUMENT // 10**6} MB, expected a shorter one"


def wrong_text(place: str, text: str) -> str | None:
    """What makes a text no document: half of a surrogate pair, or a NUL, which no text has."""
    if len(text) > MAX_DOCUMENT:
        return too_long(place)
    if "\0" in text:
        return f"{place}: a NUL at character {text.index(chr(0)):,}, expected text"
    # A text that UTF-8 cannot hold is rare, and found by the encoder faster than by a search.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"{place}: half of a surrogate pair, expected valid Unicode"
    return None
