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

import numpy as np
from tokenizers import Tokenizer

from scalelab.corpus.documents import Document, Tally
from scalelab.errors import UserError

Report = Callable[[str], None]
Source = Callable[[dict[str, Any], dict[str, Any], Tally, Report], Iterator[Document]]
Truth = Callable[[dict[str, Any], Tokenizer, dict[str, np.ndarray]], dict[str, float]]
Spelling = Callable[[dict[str, Any]], list[str]]

_SOURCES: dict[str, Source] = {}
_TRUTHS: dict[str, Truth] = {}
_SPELLINGS: dict[str, Spelling] = {}


def source(
    name: str, truth: Truth | None = None, spelling: Spelling | None = None
) -> Callable[[Source], Source]:
    """Register a function as the source `name`.

    Two options are for text that is made. `truth` tells what theory knows of it, such as its
    entropy, from the corpus's configuration, the tokenizer and the ids of each held-out split; it
    goes into the manifest. `spelling` gives the text that BPE is trained on, in place of training
    text.
    """

    def register(function: Source) -> Source:
        if name in _SOURCES:
            raise ValueError(f"source {name!r} is registered twice")
        _SOURCES[name] = function
        if truth is not None:
            _TRUTHS[name] = truth
        if spelling is not None:
            _SPELLINGS[name] = spelling
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


def known_truth(
    config: dict[str, Any], tokenizer: Tokenizer, held: dict[str, np.ndarray]
) -> dict[str, float] | None:
    """What theory knows of a corpus, with the ids of its held-out splits; None for real text."""
    truth = _TRUTHS.get(config["source"])
    return truth(config, tokenizer, held) if truth is not None else None


def own_spelling(config: dict[str, Any]) -> list[str] | None:
    """The text that a source wants BPE trained on; None where that is training text."""
    spelling = _SPELLINGS.get(config["source"])
    return spelling(config) if spelling is not None else None
