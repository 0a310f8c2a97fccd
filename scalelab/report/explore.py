"""What the interactive plot of the law holds: for each fit its points, curve, lines and rivals."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.figures import numbers
from scalelab.figures.study import Study, even, predicted
from scalelab.laws.result import predict
from scalelab.report import large, summary
from scalelab.report.again import power_sum

STEPS = 6
"""Steps of a law's line from one point of a group to the next, even in logs."""
Point = Mapping[str, Any]


def views(study: Study, shown: Study | None = None) -> list[dict[str, Any]]:
    """One for each fit of laws.json that the registry knows, in its order.

    shown: the study with the runs that the page holds, where these are not all.
    """
    places = {run.id: place for place, run in enumerate((shown or study).runs)}
    return [view(study, fit, places) for fit in study.fits]


def view(study: Study, fit: Mapping[str, Any], places: Mapping[str, int]) -> dict[str, Any]:
    """A fit as the page's scripts read it: `points`, `band`, `lines`, `refit` and the rest.

    `runs` of a point are places in the list of runs, with their whole number as `of` where the page
    lacks some. `refit` is None where the page can fit the law again without some points, else the
    sentence that says why not.
    """
    columns = columns_of(fit)
    y = str(fit.get("y", "loss_nats"))
    points = []
    for point in even(fit["points"], large.MOST_POINTS):
        at = {column: _at(fit, point, column) for column in columns}
        runs = study.runs_of(point)
        points.append(
            {
                "x": at,
                "y": float(point[y]),
                "predicted": predicted(point),
                "residual": float(point["residual_relative"]),
                "weight": float(point.get("weight", 1.0)),
                "runs": [places[run.id] for run in runs if run.id in places],
                **({} if all(run.id in places for run in runs) else {"of": len(runs)}),
                "without": without(fit, point),
                "budget": runs[0].number("budget") if runs else None,
            }
        )
    return {
        "law": fit["law"],
        "formula": str(fit.get("formula") or fit["law"]),
        "columns": columns,
        "convention": summary.convention(fit),
        "note": note(fit),
        "y": y,
        "unit": summary.unit_of(fit),
        "level": summary.level(fit),
        "params": dict(fit["params"]),
        "intervals": fit.get("intervals") or {},
        "delta": fit.get("delta"),
        "points": points,
        "band": [_row(item) for item in fit.get("band") or ()] if len(columns) == 1 else [],
        "ahead": [_ahead(item, columns) for item in fit.get("extrapolation") or ()],
        "lines": lines(fit, points) if len(columns) > 1 else {},
        "form": form_of(fit["law"], columns),
        "rivals": [
            {
                "law": item["law"],
                "params": item["params"],
                "form": form_of(item["law"], columns),
            }
            for item in fit.get("alternatives") or ()
            if form_of(item["law"], columns)
        ],
        "refit": no_refit(fit),
        **large.of_points(fit["points"]),
    }


def note(fit: Mapping[str, Any]) -> str:
    """What tells two fits of one law apart: held and tied parameters, the objective."""
    told = [f"{name} held at {value:g}" for name, value in (fit.get("fixed") or {}).items()]
    told += [" = ".join(pair) for pair in fit.get("tied") or ()]
    if fit.get("delta"):
        told.append(f"Huber, delta {fit['delta']:g}")
    return ", ".join(told)


def columns_of(fit: Mapping[str, Any]) -> list[str]:
    """The x columns of a fit."""
    return [fit["x"]] if isinstance(fit["x"], str) else list(fit["x"])


def form_of(law: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """A law's terms in these columns, for the page to compute it; None where it is no sum."""
    form = power_sum(law)
    if form is None or len(form.terms) != len(columns):
        return None
    terms = [[a, b, column] for (a, b, _), column in zip(form.terms, columns, strict=True)]
    return {"terms": terms, "offset": form.offset}


def no_refit(fit: Mapping[str, Any]) -> str | None:
    """Why the page does not fit this law again; None where it does."""
    settings = fit.get("settings") or {}
    if form_of(fit["law"], columns_of(fit)) is None:
        why = "it is no sum of powers"
    elif fit.get("fixed") or fit.get("tied"):
        why = "some of its constants are held or tied"
    elif settings.get("objective") == "lad":
        why = "its objective is least absolute deviations"
    else:
        return None
    return (
        f"This law is not fitted again in the page ({why}): scalelab fit does it, on a table "
        "without those rows. For one point left out, the shift below is from the fit itself."
    )


def without(fit: Mapping[str, Any], point: Point) -> dict[str, float]:
    """Exponents without this point, from the shifts (in standard errors) that the fit stored."""
    errors = fit.get("standard_errors") or {}
    shifts = point.get("leave_one_out") or {}
    return {
        name: float(fit["params"][name]) + float(shift) * float(errors[name])
        for name, shift in shifts.items()
        if errors.get(name) is not None
    }


def lines(fit: Mapping[str, Any], points: Sequence[Point]) -> dict[str, list[dict[str, Any]]]:
    """Lines of a law of several columns, by the column along the axis.

    Points of one group (one budget, or equal in the other columns) are joined, and the law is
    taken along that path: straight in logs from each point to the next.
    """
    import numpy as np

    columns = columns_of(fit)
    places = {id(point): place for place, point in enumerate(points)}
    found: dict[str, list[dict[str, Any]]] = {}
    for axis in columns:
        result = []
        for name, members in groups(columns, points, axis):
            path = _path([[point["x"][c] for c in columns] for point in members])
            values = predict(fit, np.array(path, dtype=float))
            result.append(
                {
                    "name": name,
                    "points": [places[id(point)] for point in members],
                    "at": [[_short(value) for value in row] for row in path],
                    "value": [_short(float(value), 7) for value in values],
                }
            )
        found[axis] = result
    return found


def groups(
    columns: Sequence[str], points: Sequence[Point], axis: str
) -> list[tuple[str, list[Point]]]:
    """Points that stand on one line along an axis, each in rising order, with a name."""
    budgets = {point["budget"] for point in points}
    by_budget = None not in budgets and len(budgets) > 1
    others = [column for column in columns if column != axis]
    found: dict[tuple[float, ...], list[Point]] = {}
    for point in points:
        key = (point["budget"],) if by_budget else tuple(point["x"][c] for c in others)
        found.setdefault(key, []).append(point)
    result = []
    for key in sorted(found):
        values = [f"{c} = {numbers.short(v)}" for c, v in zip(others, key, strict=False)]
        name = f"C = {key[0]:.2g} FLOPs" if by_budget else ", ".join(values)
        result.append((name, sorted(found[key], key=lambda point: float(point["x"][axis]))))
    return result


def _path(rows: list[list[float]]) -> list[list[float]]:
    path = rows[:1]
    for before, after in itertools.pairwise(rows):
        for step in range(1, STEPS + 1):
            share = step / STEPS
            path.append([a * (b / a) ** share for a, b in zip(before, after, strict=True)])
    return path


def _at(fit: Mapping[str, Any], point: Point, column: str) -> float:
    value = point.get(column)
    return float(point["x"] if value is None else value)


def _row(item: Mapping[str, Any]) -> list[float | None]:
    return [float(item["x"]), predicted(item), item.get("low"), item.get("high")]


def _ahead(item: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    at = {column: float(item.get(column, item["x"])) for column in columns}
    ends = {key: item.get(key) for key in ("low", "high", "factor")}
    return {"x": at, "predicted": predicted(item), **ends}


def _short(value: float, digits: int = 6) -> float:
    """Few digits for what is only drawn."""
    if not value or not math.isfinite(value):
        return 0.0
    return float(f"{value:.{digits}g}")
