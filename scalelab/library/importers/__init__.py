"""Where finished runs come from. One file a kind of source, found by being in this folder.

A module has `IMPORTER`: a name, a function that knows such a source when it sees one, and one that
reads it into `Found` runs. What their columns mean is decided in `scalelab.library.reading`, the
same for all.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.errors import UserError


@dataclass(frozen=True)
class Found:
    """A run as a source tells it.

    name: what the source calls it; source: its file and name, for people; identity: runs of one
    identity are one run, None where nothing tells. config: settings by flat key; history: what was
    logged, in order; summary: what held at the end. Values are text or numbers. status: ok where it
    ended well, else the source's word.
    """

    name: str
    source: str
    identity: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    status: str = "ok"
    reason: str | None = None

    def names(self) -> list[str]:
        """All keys, the final ones first."""
        logged = (key for row in self.history for key in row)
        return list(dict.fromkeys([*self.summary, *self.config, *logged]))


@dataclass(frozen=True)
class Importer:
    """One kind of source.

    detects: whether a path is one. read: the runs of it, given the column that names the run of a
    row of a log table, `""` to look for it, None where each row is a run; only tables heed it.
    unit: of its losses, None where they do not say. bare_loss: whether a column `loss` may be
    taken for the final loss; in a log it is that of training. needs_tokens: whether a run without
    D is refused.
    """

    name: str
    summary: str
    detects: Callable[[Path], bool]
    read: Callable[[Path, str | None], Iterable[Found]]
    unit: str | None = None
    bare_loss: bool = False
    needs_tokens: bool = False


@functools.cache
def importers() -> dict[str, Importer]:
    """All importers by name."""
    modules = [
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    ]
    found = {module.IMPORTER.name: module.IMPORTER for module in modules}
    return dict(sorted(found.items()))


def get(name: str) -> Importer:
    """The importer of that name; `UserError` names those there are."""
    if name not in importers():
        raise UserError(f"--format {name!r} is unknown, expected {', '.join(importers())}")
    return importers()[name]


def detect(path: Path) -> Importer:
    """The importer that knows a source. Raises `UserError` where none does."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    known = [one for one in importers().values() if one.detects(path)]
    if len(known) != 1:
        kinds = "; ".join(f"{one.name}: {one.summary}" for one in known or importers().values())
        what = "could be several" if known else "is none"
        raise UserError(
            f"{path}: {what} of the sources that can be imported ({kinds}): see --format"
        )
    return known[0]
