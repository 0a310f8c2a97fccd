"""The registry of answers: a module of this package that uses `@answer` is found by itself."""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.laws.result import FitResult

if TYPE_CHECKING:
    from pandas import DataFrame

Block = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What an answer is made of: the runs, the study's fits, the folder of the training curves."""

    runs: "DataFrame"
    fits: tuple[FitResult, ...] = ()
    runs_root: Path | None = None


@dataclass(frozen=True)
class Answer:
    """A registered answer: its name, the settings that it takes, and what makes its block."""

    name: str
    settings: tuple[str, ...]
    required: tuple[str, ...]
    make: Callable[[Material, Mapping[str, Any]], Block]


_answers: dict[str, Answer] = {}


def answer(
    settings: Sequence[str] = (), required: Sequence[str] = ()
) -> Callable[[Callable[[Material, Mapping[str, Any]], Block]], Callable[..., Block]]:
    """Register a function (material, settings) -> block under the name of its module.

    The block is plain values for strict JSON and has `warnings`, a list of sentences; what cannot
    be answered is a `UserError`.
    """

    def register(make: Callable[[Material, Mapping[str, Any]], Block]) -> Callable[..., Block]:
        name = make.__module__.rpartition(".")[2]
        _answers[name] = Answer(name, (*required, *settings), tuple(required), make)
        return make

    return register


@functools.cache
def _discovered() -> dict[str, Answer]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"scalelab.laws.answers.{module.name}")
    return dict(sorted(_answers.items()))


def names() -> tuple[str, ...]:
    """Names of the answers, sorted."""
    return tuple(_discovered())


def get(name: str) -> Answer:
    """One answer; an unknown one is a `UserError` with the near name."""
    if name not in names():
        raise UserError(
            f"answer {name!r} is unknown{_near(name, names())}: expected one of "
            f"{', '.join(names())}"
        )
    return _discovered()[name]


def check(item: Any, where: str) -> tuple[Answer, dict[str, Any]]:
    """The answer that an item such as {"answer": "optimum", "axis": "lr"} asks for, its settings.

    Raises:
        UserError: no such answer, a setting that it does not take, or one that is missing.
    """
    if not isinstance(item, Mapping) or not isinstance(item.get("answer"), str):
        raise UserError(f"{where}: expected keys such as answer: frontier, found {item!r}")
    try:
        found = get(item["answer"])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    settings = {key: v for key, v in item.items() if key != "answer" and v is not None}
    for key in settings:
        if key not in found.settings:
            raise UserError(
                f"{where}: key {key!r} is unknown{_near(key, found.settings)}: answer {found.name} "
                f"takes {', '.join(found.settings)}"
            )
    for key in found.required:
        if key not in settings:
            raise UserError(f"{where}: answer {found.name} needs the key {key}")
    return found, settings


def give(
    items: Sequence[Any], material: Material, study: str
) -> tuple[list[Block], list[dict[str, Any]]]:
    """The blocks of all answers asked for, and {answer, ..., reason} of those that cannot be made.

    Raises:
        UserError: an answer or a setting that does not exist (`check`).
    """
    asked = [check(item, f"study {study}, answer {n}") for n, item in enumerate(items, 1)]
    blocks: list[Block] = []
    failed: list[dict[str, Any]] = []
    for found, settings in asked:
        head = {"answer": found.name, **settings}
        try:
            blocks.append({**head, **found.make(material, settings)})
        except UserError as error:
            failed.append({**head, "reason": str(error)})
    return blocks, failed


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]!r}" if near else ""
