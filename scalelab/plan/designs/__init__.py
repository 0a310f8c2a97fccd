"""Registry of study designs: what is varied, as points of a study. One file a design.

A design is a function from a study and its own options to points: values for keys of the study.
It decides nothing else: costs, ids, rates and batches follow from the study as everywhere.
"""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scalelab.config import Study
from scalelab.errors import UserError, shown
from scalelab.plan.sizes import Rung, rungs

Fit = dict[str, Any]
"""Keys of one entry of `fits`."""


def no_answers(options: Any) -> tuple[dict[str, Any], ...]:
    """For designs whose laws say it all."""
    return ()


@dataclass(frozen=True)
class Point:
    """One setting of a design.

    values: dotted keys of `model`, `training` and `corpus`. seeds: runs that differ in seed alone.
    budget: the nominal FLOPs of an IsoFLOP curve.
    """

    values: dict[str, Any]
    seeds: int = 1
    budget: float | None = None


@dataclass(frozen=True)
class Design:
    """A registered design.

    options: the frozen dataclass of its options, with a docstring under each field. points: what
    it varies. sets: keys that it gives itself, which the study file must not. fits: the laws that
    it is made for; answers: from its options, what else is read off its runs
    (`scalelab.laws.answers`); figures: kinds that show it (`scalelab.figures`).
    """

    name: str
    options: type
    points: Callable[[Study, Any], Iterable[Point]]
    sets: tuple[str, ...] = ()
    fits: tuple[Fit, ...] = ()
    answers: Callable[[Any], tuple[dict[str, Any], ...]] = no_answers
    figures: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One sentence."""
        return " ".join((self.options.__doc__ or "").split())


DESIGNS: dict[str, Design] = {}


def register(design: Design) -> Design:
    """Enter a design under its name."""
    DESIGNS[design.name] = design
    return design


@functools.cache
def discover() -> dict[str, Design]:
    """All designs by name, sorted."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(DESIGNS.items()))


def chosen(study: Study) -> tuple[Design, Any]:
    """The design of a study and its options, validated.

    Raises:
        UserError: an unknown design, an unknown or wrong option, a key that the design sets itself.
    """
    given = {str(key): value for key, value in study.design.items()}
    name = given.pop("kind", "ladder")
    if not isinstance(name, str) or name not in discover():
        near = difflib.get_close_matches(str(name), discover(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"design.kind: found {shown(name)}, expected one of {', '.join(discover())}{hint}"
        )
    design = discover()[name]
    try:
        options: Any = TypeAdapter(design.options).validate_python(given)
    except ValidationError as error:
        raise UserError(_sentence(design, error)) from None
    for key in design.sets:
        section, _, field_name = key.partition(".")
        default = next(
            item.default
            for item in dataclasses.fields(getattr(study, section))
            if item.name == field_name
        )
        if getattr(getattr(study, section), field_name) != default or key in study.axes:
            raise UserError(
                f"{key}: given by the study, but the design {name} chooses it; leave it out"
            )
    return design, options


def ladder_points(study: Study) -> list[tuple[Rung, Point]]:
    """Each size with its point, for designs that vary something at each of them."""
    return [(rung, Point(rung.values, rung.seeds)) for rung in rungs(study)]


def optimum(axis: str, y: str = "loss_nats") -> dict[str, Any]:
    """The answer that is the best value of a column of runs.csv at each size."""
    return {"answer": "optimum", "axis": axis, "y": y}


def _sentence(design: Design, error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "constr"))]
    key = ".".join(["design", *path])
    names = [item.name for item in dataclasses.fields(design.options)]
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(names) if names else "none"
        return f"{key}: unknown option of the design {design.name}{hint} (it has {known})"
    if first["type"] == "missing":
        return f"{key}: missing, the design {design.name} needs it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: found {shown(first['input'])}, {message[0].lower()}{message[1:]}"


__all__ = [
    "Design",
    "Fit",
    "Point",
    "chosen",
    "discover",
    "ladder_points",
    "optimum",
    "register",
]
