"""What a budget buys: size, tokens and loss with intervals, computed when the page is written.

Three sources, the first that the study has: its law of N and D (optimal split, Hoffmann et al.
2022, equation 4, or numerically); an answer `frontier` (its path of optima); a law of one column at
the study's own N, D and cost for each x. The page interpolates between these budgets.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.figures import numbers
from scalelab.figures.study import Run, Study
from scalelab.laws import registry
from scalelab.laws.allocation.allocate import along
from scalelab.laws.result import FitResult, finite, predict
from scalelab.report.again import Fits
from scalelab.report.large import thinned

STEPS, AHEAD = 8, 100.0
"""Steps to the largest budget of the study, and as many up to so many times as much."""
POWER = ("N", "D")
Triple = list[float | None]
ALIKE = 1.02
"""Numbers within this factor are called one number."""


def planner(study: Study, again: Fits) -> dict[str, Any] | None:
    """`rows` by rising FLOPs (flops, N, D, loss: each [value, low, high]; beyond: further than the
    runs), `about` (what is shown, in sentences), `speed` in FLOPs a second; None without a law."""
    found = _best_split(again) or _path(study) or _along(study, again)
    if found is None or len(found["rows"]) < 2:
        return None
    cost = found.get("cost", "C_6ND")
    spots = [
        [run.number(cost) or run.number("C"), run.size, run.number("loss_nats")]
        for run in thinned(study).runs
        if run.ok
    ]
    return {**found, "speed": speed(study, cost), "runs": spots}


def _steps(least: float, most: float, count: int) -> Any:
    """From the least to the most of the study, and on to AHEAD times the most, which is in it."""
    ahead = np.geomspace(most, most * AHEAD, count + 1)
    inside = np.geomspace(least, most, count + 1)[:-1] if most > least * ALIKE else ahead[:0]
    return np.concatenate([inside, ahead])


def speed(study: Study, cost: str = "C") -> dict[str, Any] | None:
    """FLOPs a second of the largest good runs that have them, counted as the budget is: by `cost`,
    the column C or C_6ND. `flops_per_second` of a run counts C."""
    known = [run for run in study.runs if run.ok and run.number("flops_per_second")]
    if not known:
        return None
    largest = max(run.size for run in known)
    chosen = [run for run in known if run.size == largest]
    rates = [
        (run.number("flops_per_second") or 0.0)
        * ((run.number(cost) or 1.0) / (run.number("C") or run.number(cost) or 1.0))
        for run in chosen
    ]
    return {"flops_per_second": sum(rates) / len(rates), "N": largest}


def _best_split(again: Fits) -> dict[str, Any] | None:
    """From a fit of N and D; U, where the law has it, is the most that the runs had."""
    for fit in again:
        if fit is None or not {*POWER} <= {*fit.columns} <= {*POWER, "U"}:
            continue
        x = dict(zip(fit.columns, fit.points.x.T, strict=True))
        spent = 6 * x["N"] * x["D"]
        fixed = {"U": float(x["U"].max())} if "U" in x else None
        try:
            found = along(fit, _steps(spent.min(), spent.max(), STEPS).tolist(), fixed)
        except UserError:
            continue
        rows = []
        for one in found:
            ends = {"N": one.n, "D": one.d, "loss": one.loss}
            values = {k: [v, *one.intervals.get(k, (None, None))] for k, v in ends.items()}
            rows.append(_plan_row(one.flops, values, float(spent.max())))
        if not rows:
            continue
        text = f"The best split of C = 6 N D by the law {fit.block['formula']}."
        if fixed:
            text += f" U is held at {numbers.short(fixed['U'])} unique tokens."
        return _block(
            rows,
            float(spent.max()),
            fit,
            [text, _method(fit.level, found[-1].interval_method)],
            "mean",
        )
    return None


def _path(study: Study) -> dict[str, Any] | None:
    """From the answer `frontier`: N and D of the first approach that could be made."""
    made = [
        (block, one)
        for block in study.answers
        if block.get("answer") == "frontier"
        for one in block["approaches"]
        if one["reason"] is None and one.get("path")
    ]
    if not made:
        return None
    block, one = made[0]
    most, law = float(one["at"]["flops"]), one.get("law")
    rows = []
    for step in one["path"]:
        loss = None
        if law and set(law["x"]) == {*POWER}:
            at = [[{"N": step["N"][0], "D": step["D"][0]}[c] for c in law["x"]]]
            loss = float(predict(law, np.array(at))[0])
        values = {"N": step["N"], "D": step["D"], "loss": [loss, None, None]}
        rows.append(_plan_row(float(step["flops"]), values, most))
    text = f"The optima of the approach {one['approach']} ({one['source']})."
    return {
        "rows": rows,
        "most": most,
        "cost": "C_6ND" if one["approach"] == "parametric" else "C",
        "unit": numbers.loss_unit(block["y"]),
        "level": numbers.percent(block["level"]),
        "kind": "mean",
        "about": [text, _method(block["level"], one.get("interval_method", "unknown"))],
    }


def _along(study: Study, again: Fits) -> dict[str, Any] | None:
    """From a law of one column: N, D and cost at each x are what the study's runs had."""
    for fit in again:
        if fit is None or len(fit.columns) != 1 or registry.get(fit.law).rising:
            continue
        column = fit.columns[0]
        runs = _of_points(study, fit)
        cost = "C" if all(run.number("C") for run in runs) else "C_6ND"
        if not all(run.number(name) for run in runs for name in (column, "D", cost)):
            continue
        x = np.array([run.number(column) for run in runs], float)
        if x.max() < x.min() * ALIKE:
            continue
        most = float(x.max())
        grid = _steps(x.min(), most, 2 * STEPS)
        ends = fit.interval(grid, new_run=True)
        along = {name: _carried(x, runs, name, grid) for name in POWER}
        spent = grid if column == cost else _cost(runs, cost, along["N"], along["D"])
        rows = []
        for k, value in enumerate(fit.predict(grid)):
            shown = {name: [float(along[name][k]), None, None] for name in POWER}
            shown["loss"] = [float(value), finite(ends[k, 0]), finite(ends[k, 1])]
            rows.append(_plan_row(float(spent[k]), shown, 0.0, bool(grid[k] > most * 1.001)))
        if any(b["flops"] <= a["flops"] for a, b in itertools.pairwise(rows)):
            continue
        largest = max(run.number(cost) or 0.0 for run in runs)
        text = f"Along the runs of this study, by the law {fit.block['formula']}: {_held(runs)}."
        note = _method(fit.level, str(fit.block["interval_method"]))
        return {**_block(rows, largest, fit, [text, note], "run"), "cost": cost}
    return None


def _of_points(study: Study, fit: FitResult) -> list[Run]:
    known = {**{run.label: run for run in study.runs}, **{run.id: run for run in study.runs}}
    return [known[name] for names in fit.points.runs for name in names if name in known]


def _carried(x: Any, runs: Sequence[Run], name: str, grid: Any) -> Any:
    """A column at other x: straight in logs from run to run, and beyond them by the power through
    all of them (which is exact for the x itself, for a constant and for a fixed ratio)."""
    logs, values = np.log(x), np.log([run.number(name) or 1.0 for run in runs])
    known, places = np.unique(logs, return_inverse=True)
    means = np.bincount(places, values) / np.bincount(places)
    slope = np.polyfit(known, means, 1)[0]
    beyond = np.maximum(np.log(grid) - known[-1], 0.0)
    return np.exp(np.interp(np.log(grid), known, means) + slope * beyond)


def _cost(runs: Sequence[Run], cost: str, n: Any, d: Any) -> Any:
    """FLOPs of N and D: those of a token of the runs, a straight line from size to size.

    Beyond the sizes a parameter adds 6 FLOPs a token (Kaplan et al. 2020, section 2.1); attention,
    which adds more, is that of the largest size.
    """
    sizes = np.array([run.size for run in runs])
    a_token = np.array([(run.number(cost) or 1.0) / (run.number("D") or 1.0) for run in runs])
    known, places = np.unique(sizes, return_inverse=True)
    means = np.bincount(places, a_token) / np.bincount(places)
    return d * (np.interp(n, known, means) + 6 * np.maximum(n - known[-1], 0.0))


def _held(runs: Sequence[Run]) -> str:
    """What was the same in all runs, in words."""
    for values, what in (
        ([run.number("D") or 1.0 for run in runs], "each size with {} tokens"),
        ([(run.number("D") or 1.0) / run.size for run in runs], "{} tokens per parameter"),
        ([run.size for run in runs], "N = {}"),
    ):
        if max(values) < min(values) * ALIKE:
            return what.format(numbers.short(math.exp(float(np.log(values).mean()))))
    return "tokens and size grow together as they did in the runs"


def _plan_row(
    flops: float, values: Mapping[str, Triple], most: float, beyond: bool | None = None
) -> dict[str, Any]:
    triples = {name: [_number(value) for value in triple] for name, triple in values.items()}
    far = flops > most * 1.001 if beyond is None else beyond
    return {"flops": float(f"{flops:.8g}"), **triples, "beyond": far}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")


def _block(
    rows: list[dict[str, Any]], most: float, fit: FitResult, about: list[str], kind: str
) -> dict[str, Any]:
    return {
        "rows": rows,
        "most": most,
        "unit": numbers.loss_unit(fit.y),
        "level": numbers.percent(fit.level),
        "kind": kind,
        "about": about,
    }


def _method(level: float, said: str) -> str:
    return f"{numbers.percent(level)} intervals: {said}; they hold if the law does."


def table(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Rows for print: the least budget, the largest of the study, and ten and a hundred times it.

    The nearest computed budget stands for each.
    """
    if found is None:
        return []
    rows, most = found["rows"], found["most"]
    chosen = []
    for wanted in (rows[0]["flops"], most, 10 * most, rows[-1]["flops"]):
        row = min(rows, key=lambda one: abs(math.log(one["flops"] / wanted)))
        if row not in chosen:
            chosen.append(row)
    return [{**row, "texts": {k: text(row[k], k) for k in (*POWER, "loss")}} for row in chosen]


def text(triple: Sequence[float | None], name: str) -> str:
    """`1.05M [980k, 1.2M]` of counts, `2.312 [2.28, 2.35]` of a loss; `unknown` without value."""
    value, low, high = triple
    if value is None:
        return "unknown"
    if name in POWER:
        parts = ["open" if v is None else numbers.short(v) for v in (value, low, high)]
        return parts[0] if low is None and high is None else f"{parts[0]} [{', '.join(parts[1:])}]"
    return numbers.with_interval(value, low, high).replace("?", "open")
