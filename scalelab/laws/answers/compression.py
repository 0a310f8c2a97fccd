"""What rounding or pruning the weights costs, by size and by tokens a parameter, and what it buys.

The damage of one way to compress is a straight line in logarithms, ln excess = a + b ln N +
c ln(D/N): Kumar et al. 2024 (arXiv:2411.04330, section 3) find c > 0, and b + c < 0 would be damage
that falls with N at equal D. The fronts are the models that none of fewer or equal bytes beats, and
those that none beats which writes as quickly or quicker. Least squares with Student's intervals
(Draper and Smith 1998, section 5.2).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import SPEED, YARDSTICK
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.estimation.plane import plane
from scalelab.laws.registry import Array
from scalelab.laws.result import finite
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.rows import failed

if TYPE_CHECKING:
    from pandas import DataFrame

EXCESS = "_excess_nats"
MEASURES = ("quantised/", "pruned/", "speed/")
CLEAR = 2.0
"""Standard errors that a damage is above none by; the logarithm of less is noise."""
FEWEST_SPARE = 2


@answer(settings=("level",))
def compression(material: Material, settings: Mapping[str, Any]) -> Block:
    """Damage against N and D/N for each column of excess loss, the front of loss against bytes, and
    that of loss against tokens a second for each number of texts at once.

    settings: level of the intervals (0.95). Where all sizes were trained at one D, N and D/N cannot
    be told apart, and the line is that of N at that D.

    Raises:
        UserError: a missing column, or a level that is none.
    """
    level = float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    runs = material.runs
    names = [str(name) for name in runs.columns]
    for column in ("N", "D"):
        if column not in names:
            raise UserError(missing_column(column, names))
    ways = [name for name in names if name.endswith(EXCESS) and name.startswith(MEASURES)]
    # Channels that two measures cut are the same ones: once is enough.
    twice = {way.replace("pruned/", "speed/") for way in ways if way.startswith("pruned/")}
    ways = [way for way in ways if way not in twice]
    if not ways:
        raise UserError(
            "no column of damage, such as quantised/int4_excess_nats: see evaluation.measures"
        )
    good = runs[~runs["status"].map(failed)] if "status" in names else runs
    warnings: list[str] = []
    rows = [row for way in ways if (row := _damage(good, way, level, warnings)) is not None]
    return {
        "level": level,
        "rows": rows,
        "front": _front(good),
        "speed_front": _speed_front(good),
        "cost": None,
        "warnings": warnings,
    }


def _damage(
    runs: "DataFrame", way: str, level: float, warnings: list[str]
) -> dict[str, Any] | None:
    """The line of one way to compress, of the runs whose damage is clear; None without enough."""
    y = _values(runs[way])
    errors = _values(runs[f"{way}_se"]) if f"{way}_se" in runs.columns else np.zeros(len(y))
    known = np.isfinite(y)
    clear = known & (y > 0) & (y > CLEAR * np.nan_to_num(errors))
    n, d = _values(runs["N"])[clear], _values(runs["D"])[clear]
    both = len(n) > 0 and bool(np.ptp(np.log(d)) > math.log(1.1))
    design = np.stack([np.ones(len(n)), np.log(n), *([np.log(d / n)] if both else [])], axis=1)
    spare = len(n) - design.shape[1]
    if spare < FEWEST_SPARE or np.linalg.matrix_rank(design) < design.shape[1]:
        warnings.append(
            f"{way}: {int(clear.sum())} of {int(known.sum())} runs show a damage, and a line needs "
            f"{design.shape[1] + FEWEST_SPARE} of several sizes"
        )
        return None
    if 2 * clear.sum() < known.sum():
        # The few that stand out of noise were chosen by it.
        warnings.append(
            f"{way}: {int(clear.sum())} of {int(known.sum())} runs show a damage, too few to tell "
            "how it goes with size"
        )
        return None
    if clear.sum() < known.sum():
        # Leaving out what is too small to see bends the line towards none: say so.
        warnings.append(
            f"{way}: {int((known & ~clear).sum())} of {int(known.sum())} runs show no damage above "
            f"{CLEAR:g} standard errors and are left out"
        )
    triples, variance = plane(design, np.log(y[clear]), level)
    return {
        "way": way.removesuffix(EXCESS),
        "points": int(clear.sum()),
        "exponent_N": triples[1],
        "exponent_tokens_per_parameter": triples[2] if both else None,
        "constant": triples[0][0],
        "scatter": math.sqrt(variance),
        "sizes": [
            {"N": float(a), "D": float(b), "excess": float(c), "se": finite(e)}
            for a, b, c, e in zip(n, d, y[clear], errors[clear], strict=True)
        ],
    }


def _front(runs: "DataFrame") -> list[dict[str, Any]]:
    """Every model in every format by its bytes, and whether it stands on the front."""
    points = []
    for column in map(str, runs.columns):
        if not (column.endswith("_bytes") and column.startswith(MEASURES)):
            continue
        way = column.removesuffix("_bytes")
        measure, _, form = way.partition("/")
        loss = _values(runs[f"{measure}/loss_nats"])
        if f"{way}{EXCESS}" in runs.columns:
            loss = loss + _values(runs[f"{way}{EXCESS}"])
        for size, nats, n, d in zip(_values(runs[column]), loss, runs["N"], runs["D"], strict=True):
            if math.isfinite(size) and math.isfinite(nats):
                points.append(
                    {"form": form, "N": float(n), "D": float(d), "bytes": size, "loss": nats}
                )
    points.sort(key=lambda one: (one["bytes"], one["loss"]))
    least = math.inf
    for one in points:
        one["front"] = bool(one["loss"] < least)
        least = min(least, one["loss"])
    return [{**one, "bytes": float(one["bytes"]), "loss": float(one["loss"])} for one in points]


def _speed_front(runs: "DataFrame") -> list[dict[str, Any]]:
    """Every model in every form by its speed, the quickest first, for each number of texts at once.

    Speeds are those at the median pace of the yardstick, which was measured beside each run. front:
    none as quick or quicker has less loss, by the medians. clear: each whose loss is not more by
    two standard errors of the difference is slower by more than two. Windows are the same for all,
    so errors of losses are those of the excess within a run, and too large between runs.
    """
    points: list[dict[str, Any]] = []
    names = [str(name) for name in runs.columns]
    for column in names:
        if not (column.endswith(SPEED) and column.startswith("speed/")):
            continue
        form, _, texts = column.removesuffix(SPEED).removeprefix("speed/").rpartition("_")
        if form == YARDSTICK:
            continue
        needed = ("speed/loss_nats", f"speed/{YARDSTICK}_{texts}{SPEED}")
        for name in needed:
            if name not in names:
                raise UserError(missing_column(name, names))
        whole, pace = (_values(runs[name]) for name in needed)
        whole_errors = _errors(runs, needed[0])
        pace = np.nanmedian(pace) / pace
        way = f"speed/{form}{EXCESS}"
        more = _values(runs[way]) if way in names else np.zeros(len(runs))
        rates, errors = _values(runs[column]) * pace, _errors(runs, column) * pace
        points += [
            {
                **{"form": form, "texts": int(texts), "N": float(n), "D": float(d), "run": place},
                **{"tokens_per_second": float(rates[place]), "se": float(errors[place])},
                "loss": float(whole[place] + more[place]),
                "loss_se": float(whole_errors[place]),
                "excess_se": float(_errors(runs, way)[place]),
            }
            for place, (n, d) in enumerate(zip(runs["N"], runs["D"], strict=True))
            if math.isfinite(rates[place]) and math.isfinite(whole[place] + more[place])
        ]
    points.sort(key=lambda one: (one["texts"], -one["tokens_per_second"], one["loss"]))
    for one in points:
        others = [p for p in points if p["texts"] == one["texts"] and p is not one]
        one["front"] = all(
            p["loss"] >= one["loss"] or p["tokens_per_second"] < one["tokens_per_second"]
            for p in others
        )
        one["clear"] = one["front"] and all(
            _apart(p, one, "loss", "excess_se" if p["run"] == one["run"] else "loss_se")
            or _apart(one, p, "tokens_per_second", "se")
            for p in others
        )
    return [{k: v for k, v in one.items() if k not in ("run", "excess_se")} for one in points]


def _apart(high: Mapping[str, Any], low: Mapping[str, Any], what: str, error: str) -> bool:
    """Whether one is above the other by more than two standard errors of the difference."""
    return bool(high[what] - low[what] > CLEAR * math.hypot(high[error], low[error]))


def _errors(runs: "DataFrame", column: str) -> Array:
    """The standard errors of a column, none where they are not known."""
    known = f"{column}_se" in runs.columns
    return np.nan_to_num(_values(runs[f"{column}_se"])) if known else np.zeros(len(runs))


def _values(column: Any) -> Array:
    return np.asarray(column, dtype=float)
