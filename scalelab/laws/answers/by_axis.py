"""A law for each value of a setting, and whether they differ in offset, exponent or floor.

Two comparisons. Each value has a fit of its own, as if it were a study. And all values have one fit
with a floor in common, in which differences have far narrower intervals, since a floor and an
exponent that are both free can stand for each other (`laws.estimation.joint`).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import of_set, set_of
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.estimation.joint import MODELS, Group, Joint, f_test, joint
from scalelab.laws.fitting import fit
from scalelab.laws.result import FitResult, finite
from scalelab.laws.runs.points import CONVENTIONS, missing_column, prepare
from scalelab.laws.spent import spent, text

if TYPE_CHECKING:
    from pandas import DataFrame

LAW = "power_offset"
CURVE = 33
SAME_TEXT = ("eval_bytes", "eval_split")
"""Columns that are equal where two runs are scored on one text, whatever its tokens."""
TUNED = ("lr", "batch_tokens")


@answer(required=("axis",), settings=("x", "y", "set", "level", "reference"))
def by_axis(material: Material, settings: Mapping[str, Any]) -> Block:
    """The law of each value of an axis, and the differences to a reference.

    settings: axis, a column of runs.csv; x, the size (N_active where it differs from N, else N); y,
    the loss (bits_per_byte, else loss_nats); set, the evaluation set that it is of (the split that
    is reported); level of the intervals; reference, the value that the others are compared with
    (the first in order).

    Raises:
        UserError: a missing column, fewer than two values with three sizes, bad settings or rows.
    """
    runs, axis = material.runs, str(settings["axis"])
    x, y = _columns(runs, settings)
    level = float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    for name in (axis, x, y):
        if name not in runs.columns:
            raise UserError(missing_column(name, [str(column) for column in runs.columns]))
    tables = {value: runs[runs[axis].map(text) == value] for value in _values(runs[axis])}
    reference = text(settings.get("reference", next(iter(tables))))
    if reference not in tables:
        raise UserError(
            f"answer by_axis: found reference {reference!r}, expected one of {', '.join(tables)}"
        )
    tables = {reference: tables.pop(reference), **tables}
    groups, left_out = [], []
    for value, table in tables.items():
        try:
            points = prepare(table, (x,), y)
        except UserError as error:
            left_out.append(f"{axis} {value} is left out: {error}")
            continue
        groups.append(Group(value, points.x[:, 0], points.log_loss))
    if groups and groups[0].value != reference:
        raise UserError(f"{axis} {reference}, the reference, has no runs to fit: {left_out[0]}")
    fits = {model: joint(groups, model) for model in _possible(groups)}
    shared = fits["exponents"]
    return {
        "axis": axis,
        "x": x,
        "convention": CONVENTIONS.get(x, x),
        "y": y,
        "level": level,
        "reference": reference,
        "at": shared.at,
        "floor": floor_of(shared, 0, level),
        "dof": shared.dof,
        "sigma_log": math.sqrt(shared.rss / shared.dof),
        "interval_method": "least squares of the log loss with one floor, Student's t",
        "values": [
            {
                **alone(tables[group.value], group, x, y, level),
                **_compared(shared, place, level),
                "points": pairs(group.x, np.exp(group.log_loss)),
                "curve": _curve(shared, place, group),
            }
            for place, group in enumerate(groups)
        ],
        "tests": _tests(fits),
        "cost": spent(runs.to_dict("records")),
        "warnings": [*left_out, *_warnings(runs, tables, shared, y)],
    }


def _columns(runs: "DataFrame", settings: Mapping[str, Any]) -> tuple[str, str]:
    active = "N_active" in runs.columns and bool((runs["N_active"] != runs["N"]).any())
    bits = "bits_per_byte" in runs.columns and bool(runs["bits_per_byte"].notna().any())
    x = str(settings.get("x", "N_active" if active else "N"))
    y = str(settings.get("y", "bits_per_byte" if bits else "loss_nats"))
    return x, of_set(settings["set"], y) if settings.get("set") else y


def _values(column: Any) -> list[str]:
    """The values of an axis as text: numbers by size, words by the alphabet."""
    found = sorted({text(value) for value in column} - {""})
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def _possible(groups: Sequence[Group]) -> tuple[str, ...]:
    """The models that there are sizes enough for: a floor of each value takes one more."""
    points = sum(len(group.x) for group in groups)
    return MODELS if points > 3 * len(groups) else MODELS[:3]


def alone(table: "DataFrame", group: Group, x: str, y: str, level: float) -> dict[str, Any]:
    """The fit of one value alone, or why there is none."""
    try:
        found: FitResult = fit(LAW, table, x=x, y=y, level=level)
    except UserError as error:
        return {"value": group.value, "sizes": len(group.x), "alone": None, "reason": str(error)}
    alone = {
        name: [found.params[name], *found.intervals[name]]
        for name in ("E", "A", "alpha")
        if name in found.intervals
    }
    return {"value": group.value, "sizes": len(group.x), "alone": alone, "reason": None}


def _compared(shared: Joint, place: int, level: float) -> dict[str, Any]:
    """Exponent and loss above the floor at x0, and how they differ from those of the reference.

    An offset is a ratio: 0.95 is a reducible loss of 95% of the reference's at x0.
    """
    one, exponents, offsets = shared.one, shared.exponents, shared.offsets
    exponent = shared.interval(one(exponents[place]), level)
    above = shared.interval(one(offsets[place]), level)
    found: dict[str, Any] = {
        "exponent": list(exponent),
        "above_floor": [math.exp(value) for value in above],
        "exponent_difference": None,
        "offset_ratio": None,
    }
    if place:
        moved = shared.interval(one(exponents[place]) - one(exponents[0]), level)
        ratio = shared.interval(one(offsets[place]) - one(offsets[0]), level)
        found["exponent_difference"] = list(moved)
        found["offset_ratio"] = [math.exp(value) for value in ratio]
    return found


def floor_of(shared: Joint, place: int, level: float) -> list[float | None]:
    """The floor of a group with its interval, which does not reach below 0; at the bound it has
    none."""
    parameter = shared.floors[place]
    if not shared.covariance[parameter, parameter]:
        return [0.0, None, None]
    value, low, high = shared.interval(shared.one(parameter), level)
    return [value, max(low, 0.0), high]


def _tests(fits: Mapping[str, Joint]) -> list[dict[str, Any]]:
    """What each kind of difference explains: `share` of the squared deviations from one law."""
    order = list(fits)
    noise, base = fits[order[-1]], fits["one law"].rss
    found = []
    for before, after in itertools.pairwise(order):
        ratio, extra, p = f_test(fits[before], fits[after], noise)
        share = (fits[before].rss - fits[after].rss) / base if base else 0.0
        found.append(
            {
                "differ_in": after,
                "share": max(share, 0.0),
                "F": finite(ratio),
                "dof": [extra, noise.dof],
                "p": finite(p),
            }
        )
    return found


def pairs(x: Any, y: Any) -> list[list[float]]:
    """Points of a line as plain lists."""
    return [[float(one), float(other)] for one, other in zip(x, y, strict=True)]


def _curve(shared: Joint, place: int, group: Group) -> list[list[float]]:
    x = np.geomspace(group.x.min(), group.x.max(), CURVE)
    return pairs(x, shared.predict(place, x))


def _warnings(
    runs: "DataFrame", tables: Mapping[str, "DataFrame"], shared: Joint, y: str
) -> list[str]:
    told = []
    if not shared.covariance[shared.floors[0], shared.floors[0]]:
        told.append(
            "the floor in common is at its bound 0: the data do not show one, and exponents are "
            "those of laws without it"
        )
    scored = set_of(y)
    for name in SAME_TEXT if scored is None else (of_set(scored, "bytes"),):
        if name in runs.columns and runs[name].dropna().nunique() > 1:
            told.append(f"runs differ in {name}: their losses are not of one text")
    return told + tuned_alike(tables)


def tuned_alike(tables: Mapping[str, "DataFrame"]) -> list[str]:
    """A warning for each setting that was not sought for each value by itself."""
    return [
        f"all values have the {name} of one rule: part of a difference may be that it suits one "
        "value better than another"
        for name in TUNED
        if all(name in table.columns for table in tables.values()) and _alike(tables, name)
    ]


def _alike(tables: Mapping[str, "DataFrame"], name: str) -> bool:
    """Whether all values were trained at about the same settings: within 10% over their sizes."""
    sets = [np.sort(table[name].dropna().unique()) for table in tables.values()]
    return all(len(one) == len(sets[0]) > 0 and np.allclose(one, sets[0], rtol=0.1) for one in sets)
