"""One panel of a law: runs, the fitted curve with its band, the extrapolation, what was left out.

All numbers come from laws.json; nothing is fitted or evaluated here.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, style
from scalelab.figures.study import Run, Study, predicted, value_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = list[tuple[Any, ...]]
HEADER = ("what", "run", "x", "loss", "low", "high", "predicted", "residual_percent", "note")


@dataclass(frozen=True)
class RunPoint:
    """A run as it is drawn: its x, loss, prediction at its size, and whether its size has seeds."""

    run: Run
    x: float
    loss: float
    predicted: float | None
    repeated: bool

    @property
    def residual_percent(self) -> float | None:
        """Observed minus predicted loss, in percent of the predicted loss."""
        return None if self.predicted is None else 100 * (self.loss / self.predicted - 1)


@dataclass(frozen=True)
class Curve:
    """The fitted law as columns x, prediction, low and high (NaN where an end is unknown)."""

    x: list[float]
    predicted: list[float]
    low: list[float]
    high: list[float]


def run_points(study: Study, fit: Mapping[str, Any] | None) -> list[RunPoint]:
    """The runs that a fit used (all good runs without a fit), one point each."""
    if fit is None:
        return [
            RunPoint(run, run.size, run.number("loss_nats") or 0.0, None, False)
            for run in study.runs
            if run.ok
        ]
    points = []
    column = str(fit.get("y", "loss_nats"))
    for item in fit["points"]:
        x, expected = value_at(fit, item), predicted(item)
        known = study.runs_of(item)
        for run in known:
            loss = run.number(column)
            if loss is not None:
                points.append(RunPoint(run, x, loss, expected, len(known) > 1))
    return points


def split_band(fit: Mapping[str, Any]) -> tuple[Curve, Curve]:
    """The band inside the range of the data and beyond it, joined at the largest x.

    Where no band was stored, the predictions at the points stand for the curve.
    """
    last = max(value_at(fit, item) for item in fit["points"])
    rows = [
        tuple(math.nan if value is None else float(value) for value in row)
        for row in (
            (item["x"], predicted(item), item.get("low"), item.get("high"))
            for item in fit.get("band") or ()
        )
    ]
    if not rows:
        rows = [
            (value_at(fit, item), predicted(item), math.nan, math.nan) for item in fit["points"]
        ]
    rows.sort()
    joint = interpolate(rows, last)
    inside = [row for row in rows if row[0] < last] + ([joint] if joint else [])
    beyond = ([joint] if joint else []) + [row for row in rows if row[0] > last]
    return _curve(inside), _curve(beyond if len(beyond) > 1 else [])


def interpolate(rows: list[tuple[float, ...]], x: float) -> tuple[float, ...] | None:
    """A row at x between two stored ones, straight in log-log; None outside the stored range."""
    for left, right in itertools.pairwise(rows):
        if left[0] <= x * (1 + 1e-12) and x <= right[0] * (1 + 1e-12):
            share = math.log(x / left[0]) / math.log(right[0] / left[0])
            return (x, *(_between(a, b, share) for a, b in zip(left[1:], right[1:], strict=True)))
    return None


def _between(a: float, b: float, share: float) -> float:
    if not (a > 0 and b > 0):
        return math.nan
    return math.exp((1 - share) * math.log(a) + share * math.log(b))


def _curve(rows: list[tuple[float, ...]]) -> Curve:
    return Curve(*([row[column] for row in rows] for column in range(4)))


@dataclass(frozen=True)
class Panel:
    """A drawn panel that still lacks its legend, and the rows of its CSV."""

    axes: "Axes"
    rows: Rows
    lines: list[Any]
    handles: list[Any]
    labels: list[str]


def law_text(fit: Mapping[str, Any]) -> str:
    """The legend's text: the formula, then each parameter with its interval on its own line."""
    plain = str(fit.get("formula") or fit["law"])
    own = fit.get("latex")
    lines = [style.safe_math(own if isinstance(own, str) else numbers.formula(fit), plain)]
    for name, value in fit["params"].items():
        low, high = numbers.bounds(fit, name)
        text = numbers.with_interval(value, low, high).replace("-", "\N{MINUS SIGN}")
        note = " (at its bound)" if name == "E" and value == 0 else ""
        lines.append(f"${numbers.symbol(name)}$ = {text}{note}")
    return "\n".join(lines)


def draw_law(
    axes: "Axes", study: Study, fit: Mapping[str, Any] | None, foot: "Axes | None" = None
) -> Panel:
    """Draw one fit on logarithmic axes, all but the legend (see `finish`).

    `foot` is a panel below that shares the x axis and then carries its label.
    """
    points = run_points(study, fit)
    axes.set_xscale("log")
    axes.set_yscale("log")
    rows: Rows = []
    lines: list[Any] = []
    handles, labels = _markers(axes, points)
    lines += [[(point.x, point.loss)] for point in points]
    rows += [_run_row(point) for point in points]
    shown = [point.loss for point in points]
    xs = [point.x for point in points]
    if fit is not None:
        level = numbers.percent(fit.get("interval_level", 0.95))
        inside, beyond = split_band(fit)
        steps = list(fit.get("extrapolation") or ())
        for what, curve in (("fit", inside), ("extrapolated fit", beyond)):
            handle = _band(axes, curve, ahead=what != "fit")
            for column in (curve.predicted, curve.low, curve.high):
                lines.append([p for p in zip(curve.x, column, strict=True) if p[1] == p[1]])
            columns = (curve.x, curve.predicted, curve.low, curve.high)
            for row in zip(*columns, strict=True):
                x, middle, low, high = (None if v != v else v for v in row)
                rows.append((what, None, x, None, low, high, middle, None, None))
            if what == "fit":
                handles.append(handle)
                labels.append(law_text(fit))
            elif curve.x:
                diamond = _steps(axes, steps)
                handles.append((*handle, *diamond))
                labels.append(f"extrapolation, {level} interval")
            shown += _reach(curve)
            xs += curve.x
        for item in steps:
            low, high = item.get("low"), item.get("high")
            middle = predicted(item)
            note = f"{item.get('factor', '?')} times the largest"
            rows.append(("extrapolation", None, item["x"], None, low, high, middle, None, note))
            lines.append([(item["x"], end) for end in (low, middle, high) if end])
            shown += [end for end in (low, high) if end and 0.6 < end / middle < 1.6]
    left_out = excluded(study, fit)
    _limits(axes, xs + [x for _, x, _ in left_out], shown)
    if left_out:
        handles.append(_crosses(axes, left_out))
        labels.append(_excluded_text(left_out))
        rows += [
            ("excluded", run.id, x, None, None, None, None, None, why) for run, x, why in left_out
        ]
    (foot or axes).set_xlabel(numbers.column_label(fit))
    axes.tick_params(axis="x", labelbottom=foot is None)
    axes.set_ylabel(numbers.loss_label(fit))
    style.plain_log_axis(axes)
    return Panel(axes, rows, lines, handles, labels)


def finish(*panels: Panel) -> Rows:
    """Lay the figure out and place the legend of each of its panels; give back all rows."""
    from matplotlib.legend_handler import HandlerTuple

    figure = panels[0].axes.figure
    style.settle(figure, keep=True)
    for panel in panels:
        style.place_legend(
            panel.axes,
            panel.lines,
            ("upper right", "lower left"),
            handles=panel.handles,
            labels=panel.labels,
            handler_map={tuple: HandlerTuple(ndivide=1, pad=0)},
        )
    style.settle(figure)  # room for a legend gives an axis other labels
    return [row for panel in panels for row in panel.rows]


def _limits(axes: "Axes", xs: list[float], ys: list[float]) -> None:
    margin = (max(xs) / min(xs)) ** 0.05 if max(xs) > min(xs) else 1.5
    axes.set_xlim(min(xs) / margin, max(xs) * margin)
    style.power_log_axis(axes.xaxis, *axes.get_xlim())
    pad = max((max(ys) / min(ys)) ** 0.08, 1.01)
    axes.set_ylim(min(ys) / pad, max(ys) * pad)


def _reach(curve: Curve) -> list[float]:
    """What the loss axis must show of a curve: all of the law, and of its band what is near it.

    A band that the data do not bound would otherwise flatten everything else.
    """
    ends = [*zip(curve.predicted, curve.low, strict=True)]
    ends += [*zip(curve.predicted, curve.high, strict=True)]
    return curve.predicted + [min(max(b, 0.6 * a), 1.6 * a) for a, b in ends if b == b]


def _markers(axes: "Axes", points: list[RunPoint]) -> tuple[list[Any], list[str]]:
    handles, labels = [], []
    for repeated, label in ((False, "one run a size"), (True, "runs that differ in their seed")):
        chosen = [point for point in points if point.repeated == repeated]
        if chosen:
            handles += axes.plot(
                [point.x for point in chosen],
                [point.loss for point in chosen],
                **marker(repeated),
                zorder=4,
            )
            labels.append(label)
    return handles, labels


def marker(repeated: bool) -> dict[str, Any]:
    """Marker of a run: filled, or lighter and open when its size has several seeds."""
    return {
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.8,
        "markeredgewidth": 0.8,
        "markeredgecolor": style.SEED if repeated else style.INK,
        "markerfacecolor": "white" if repeated else style.INK,
    }


def _band(axes: "Axes", curve: Curve, ahead: bool) -> tuple[Any, Any]:
    dashes = (0, (4, 2)) if ahead else "solid"
    colour = style.AHEAD if ahead else style.LAW
    area = axes.fill_between(
        curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0, zorder=1
    )
    (line,) = axes.plot(curve.x, curve.predicted, color=colour, linestyle=dashes, zorder=3)
    return area, line


def _steps(axes: "Axes", steps: list[Mapping[str, Any]]) -> list[Any]:
    """Diamonds at the extrapolated sizes, with the interval of a new run there."""
    if not steps:
        return []
    xs = [item["x"] for item in steps]
    for item in steps:
        if item.get("low") and item.get("high"):
            middle = predicted(item)
            axes.errorbar(
                item["x"],
                middle,
                [[middle - item["low"]], [item["high"] - middle]],
                color=style.AHEAD,
                linewidth=0.9,
                capsize=2,
                zorder=3,
            )
    return axes.plot(
        xs,
        [predicted(item) for item in steps],
        linestyle="none",
        marker="D",
        markersize=3.6,
        markerfacecolor="white",
        markeredgecolor=style.AHEAD,
        markeredgewidth=0.9,
        zorder=5,
    )


def excluded(study: Study, fit: Mapping[str, Any] | None) -> list[tuple[Run, float, str]]:
    """Runs that are not in the fit, with their x (N for a law of several columns) and the reason,
    by size."""
    used = {run.id for item in fit["points"] for run in study.runs_of(item)} if fit else set()
    reasons = {item["id"]: item["reason"] for item in (fit or {}).get("excluded", ())}
    column = fit["x"] if fit and isinstance(fit["x"], str) else "N"
    found = []
    for run in study.runs:
        if run.id in used or (fit is None and run.ok):
            continue
        why = reasons.get(run.id) or (run.status if run.status != "ok" else "not in the fit")
        found.append((run, run.number(column) or run.size, str(why)))
    return found


def _crosses(axes: "Axes", left_out: list[tuple[Run, float, str]]) -> Any:
    """Crosses at the foot of the panel: these runs have a size but no loss in the fit."""
    (handle,) = axes.plot(
        [x for _, x, _ in left_out],
        [0.035] * len(left_out),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        marker="x",
        markersize=4.5,
        markeredgewidth=1.2,
        color=style.FAILED,
        clip_on=False,
        zorder=5,
    )
    return handle


def _excluded_text(left_out: list[tuple[Run, float, str]]) -> str:
    names = [
        f"{run.label} ({run.status if run.status != 'ok' else 'excluded'})"
        for run, _, _ in left_out
    ]
    shown = names[:2] + ([f"{len(names) - 2} more"] if len(names) > 2 else [])
    return ("not in the fit: " + ",\n".join(shown)).replace("$", r"\$")


def _run_row(point: RunPoint) -> tuple[Any, ...]:
    note = "one of several seeds" if point.repeated else None
    return (
        "run",
        point.run.id,
        point.x,
        point.loss,
        None,
        None,
        point.predicted,
        point.residual_percent,
        note,
    )
