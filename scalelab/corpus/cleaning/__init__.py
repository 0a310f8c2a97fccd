"""Cleaning of each document's text, between the source and the removal of duplicates.

One file a step; each registers itself. A step is made by a function `(config, fingerprint, report)`
from the corpus's configuration, its fingerprint and a function that takes lines of progress; it
gives None where the configuration does not ask for it. A step takes the text of a document and
gives a list: the text, changed or not, nothing where the document is dropped, or several pieces.
"""

import functools
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from scalelab.corpus.documents import Document, utf8_size
from scalelab.plan.cleaning import check_versions

Report = Callable[[str], None]


class Step(ABC):
    """One step at work. `found` counts what the step itself has to tell, by name."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    @abstractmethod
    def __call__(self, text: str) -> list[str]:
        """What becomes of a text."""

    def facts(self) -> dict[str, Any]:
        """More for the manifest, once all documents have passed."""
        return {}

    def state(self) -> Any:
        """What an interrupted preparation needs to go on, as JSON, beside `found`."""
        return None

    def put_back(self, state: Any) -> None:  # noqa: B027 - most steps have no state
        """Take over what `state` gave."""


Make = Callable[[dict[str, Any], dict[str, Any], Report], Step | None]
_STEPS: dict[str, tuple[int, Make]] = {}


def step(name: str, place: int) -> Callable[[Make], Make]:
    """Register a function as the maker of the step `name`; steps run in the order of `place`."""

    def register(function: Make) -> Make:
        if name in _STEPS:
            raise ValueError(f"step {name!r} is registered twice")
        _STEPS[name] = place, function
        return function

    return register


@functools.cache
def steps() -> dict[str, Make]:
    """All steps by name, in the order in which they run."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    ordered = sorted(_STEPS.items(), key=lambda item: item[1][0])
    return {name: make for name, (_, make) in ordered}


@dataclass
class Count:
    """What a step saw, changed and removed, in documents and bytes of UTF-8."""

    documents: int = 0
    changed: int = 0
    bytes_before: int = 0
    """Of changed documents."""
    bytes_after: int = 0
    removed: int = 0
    bytes_removed: int = 0

    def add(self, text: str, result: list[str]) -> None:
        """Count one document and what became of it."""
        self.documents += 1
        if not result:
            self.removed += 1
            self.bytes_removed += utf8_size(text)
        elif len(result) > 1 or result[0] != text:
            self.changed += 1
            self.bytes_before += utf8_size(text)
            self.bytes_after += sum(map(utf8_size, result))

    def as_dict(self) -> dict[str, Any]:
        """`{"documents", "changed": {...}, "removed": {...}}`."""
        return {
            "documents": self.documents,
            "changed": {
                "documents": self.changed,
                "bytes_before": self.bytes_before,
                "bytes_after": self.bytes_after,
            },
            "removed": {"documents": self.removed, "bytes": self.bytes_removed},
        }


@dataclass
class Cleaning:
    """The steps that a configuration asks for, and their counts."""

    steps: dict[str, Step]
    counts: dict[str, Count] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {name: Count() for name in self.steps}

    def chain(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Each document through all steps, one at a time.

        Pieces of a document are named `name#1`, `name#2` and so on. A document that a step leaves
        without text is dropped and counted as removed by it.
        """
        if not self.steps:
            yield from documents
            return
        for name, text, part in documents:
            pieces = [text]
            for key, apply in self.steps.items():
                pieces = [new for piece in pieces for new in self._applied(key, apply, piece)]
            if len(pieces) == 1:
                yield Document(name, pieces[0], part)
            else:
                for number, piece in enumerate(pieces, 1):
                    yield Document(f"{name}#{number}", piece, part)

    def _applied(self, name: str, apply: Step, text: str) -> list[str]:
        result = [part for part in apply(text) if part]
        self.counts[name].add(text, result)
        return result

    def state(self) -> dict[str, list[Any]]:
        """All counts as JSON, for `put_back` in a preparation that goes on."""
        return {
            name: [asdict(self.counts[name]), dict(taken.found), taken.state()]
            for name, taken in self.steps.items()
        }

    def put_back(self, state: dict[str, list[Any]]) -> None:
        """Take over what `state` gave."""
        for name, (counts, found, own) in state.items():
            self.counts[name] = Count(**counts)
            self.steps[name].found = Counter(found)
            self.steps[name].put_back(own)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Counts by step for the manifest, in the order of the steps; empty where there is none."""
        return {
            name: self.counts[name].as_dict() | {"found": dict(taken.found)} | taken.facts()
            for name, taken in self.steps.items()
        }

    def lines(self) -> Iterator[str]:
        """A line of progress for each step."""
        for name, count in self.counts.items():
            yield f"{name}: {count.changed:,} documents changed, {count.removed:,} removed"


def cleaning(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Cleaning:
    """The steps of a corpus's configuration (a `CorpusConfig` as a dict), ready to run.

    Raises:
        UserError: a library is missing, another version than planned, or does not know a setting;
            a benchmark cannot be read.
    """
    check_versions(fingerprint.get("cleaning") or {})
    made = ((name, make(config, fingerprint, report)) for name, make in steps().items())
    return Cleaning({name: one for name, one in made if one is not None})


def section(config: dict[str, Any]) -> dict[str, Any]:
    """The section `corpus.cleaning`; empty where it is not given."""
    return config.get("cleaning") or {}
