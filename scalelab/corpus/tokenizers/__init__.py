"""How text becomes ids. One file a kind; each registers a function that makes a tokenizer.

A kind is a function `(config, sample, report) -> Tokenizer`, where `config` is the section `corpus`
as a dict and `sample` gives training text. Whatever it was, it becomes a tokenizer of the library
tokenizers, since everything after the corpus reads one tokenizer.json.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from tokenizers import Tokenizer

from scalelab.corpus.tokenizers.separators import SEPARATOR as SEPARATOR
from scalelab.plan.tokenizers import kind_of

Report = Callable[[str], None]
Maker = Callable[[dict[str, Any], Iterable[str], Report], Tokenizer]

_MAKERS: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    """Register a function as the tokenizers of kind `name`."""

    def register(function: Maker) -> Maker:
        if name in _MAKERS:
            raise ValueError(f"tokenizer {name!r} is registered twice")
        _MAKERS[name] = function
        return function

    return register


@functools.cache
def kinds() -> dict[str, Maker]:
    """All kinds by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_MAKERS.items()))


def make(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """The tokenizer that `config["tokenizer"]` names, ready to encode.

    Args:
        config: the section `corpus`, as a dict with all keys.
        sample: training text, for the kinds that are trained.
        report: called with a line of progress.

    Raises:
        UserError: it cannot be found, read or trained.
    """
    return kinds()[kind_of(config["tokenizer"])](config, sample, report)
