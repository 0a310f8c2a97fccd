"""Where text comes from. One file a source; each registers itself and yields documents.

A source is a function `(config, fingerprint, tally, report) -> Iterator[Document]`. It counts in
`tally` what it reads (`read`) and what it leaves out, by reason. A new source is one new file in
this folder with a `@source` function.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.errors import UserError

Report = Callable[[str], None]
Source = Callable[[dict[str, Any], dict[str, Any], Tally, Report], Iterator[Document]]

_SOURCES: dict[str, Source] = {}


def source(name: str) -> Callable[[Source], Source]:
    """Register a function as the source `name`."""

    def register(function: Source) -> Source:
        if name in _SOURCES:
            raise ValueError(f"source {name!r} is registered twice")
        _SOURCES[name] = function
        return function

    return register


@functools.cache
def sources() -> dict[str, Source]:
    """All sources by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_SOURCES.items()))


def get_source(name: str) -> Source:
    """The source of that name; `UserError` names those there are."""
    found = sources()
    if name not in found:
        raise UserError(f"corpus.source: {name!r} is unknown, expected one of {', '.join(found)}")
    return found[name]
