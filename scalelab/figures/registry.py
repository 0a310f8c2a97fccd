"""The registry of figure kinds: a module of this package that uses `@figure` is found by itself."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure and the numbers in it, which are written beside it as CSV."""

    figure: "Figure"
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Kind:
    """A registered figure: its name (also the file name), how wide it is, and what draws it.

    needs: what a study must hold for it, in words; empty for a kind that every study has.
    """

    name: str
    title: str
    width: str
    build: Callable[[Study, str], Drawing]
    needs: str = ""


_kinds: dict[str, Kind] = {}


def figure(
    title: str, width: str = "single", needs: str = ""
) -> Callable[[Callable[[Study, str], Drawing]], Callable[[Study, str], Drawing]]:
    """Register a function (study, width) -> Drawing under the name of its module.

    A kind that `needs` something raises `NotInStudy` where a study does not have it.
    """

    def register(build: Callable[[Study, str], Drawing]) -> Callable[[Study, str], Drawing]:
        name = build.__module__.rpartition(".")[2]
        _kinds[name] = Kind(name, title, width, build, needs)
        return build

    return register


@functools.cache
def kinds() -> dict[str, Kind]:
    """All figure kinds by name, sorted."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("command"):  # those import the finished registry
            importlib.import_module(f"scalelab.figures.{module.name}")
    return dict(sorted(_kinds.items()))


def kind(name: str) -> Kind:
    """One kind; a UserError that names the known ones when there is none of that name."""
    if name not in kinds():
        raise UserError(f"figure {name}: no such kind, expected one of {', '.join(kinds())}")
    return kinds()[name]
