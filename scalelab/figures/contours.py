"""The law L(N, D) as a map: lines of equal loss, the runs, and the compute-optimal path."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.labels import Line, dense, write_along
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("what", "run", "N", "D", "flops", "loss", "low", "high")
FAR = 1e6
"""Ratio to N at which a band is cut."""
GRID = 60
LEVELS = 9
RATIO = 20
"""Tokens per parameter that Hoffmann et al. 2022 found, table 3."""
POINTS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 3.2,
    "color": style.INK,
    "markeredgecolor": "white",
    "markeredgewidth": 0.35,
}
LINE: dict[str, Any] = {"color": "#4a4a4a", "linewidth": 0.7}
ISOFLOP: dict[str, Any] = {"color": style.GUIDE, "linewidth": 0.6, "linestyle": (0, (5, 2, 1, 2))}
SOFT = "#6a6a6a"


@figure("Contours of the law of parameters and tokens", needs="a law of N and D")
def draw(study: Study, width: str) -> Drawing:
    """Both axes logarithmic; the law and the path are those of the parametric approach."""
    answer, block = parametric(study)
    runs = [run for run in study.runs if run.ok and run.number("D")]
    result = style.new_figure(width, 3.8 if width == "single" else 4.8)
    axes = result.subplots()
    sizes, tokens = [run.size for run in runs], [run.number("D") or 0 for run in runs]
    x, y = series.log_range(sizes, 0.1), series.log_range(tokens, 0.1)
    series.log_axis(axes, "x", *x, inches=2.7 if width == "single" else 6)
    series.log_axis(axes, "y", *y, inches=2.4)
    contours = _contours(axes, block["law"], x, y)
    budgets = shown_budgets(answer["budgets"], x, y)
    for cost in budgets:
        axes.plot(x, [cost / 6 / n for n in x], **ISOFLOP, zorder=1)
    handles, labels = _path(axes, block, answer["budgets"][-1], numbers.percent(answer["level"]))
    ratio: dict[str, Any] = {"color": "#CC79A7", "linestyle": (0, (1.2, 1)), "linewidth": 1.2}
    handles += axes.plot(x, [RATIO * n for n in x], **ratio, zorder=2)
    (points,) = axes.plot(sizes, tokens, **POINTS, zorder=5)
    axes.set_xlabel("non-embedding parameters $N$")
    axes.set_ylabel("training tokens $D$")
    names = ["run", *labels, f"$D = {RATIO}N$", *_line_names(answer)]
    columns = 2 if width == "single" else 3
    series.legend_below(result, [points, *handles, *_line_handles()], names, columns)
    style.settle(result)
    _label_lines(axes, contours, budgets, block, [*zip(sizes, tokens, strict=True)])
    rows: list[tuple[Any, ...]] = []
    for run in runs:
        loss = run.number(str(answer["y"]))
        rows.append(("run", run.id, run.size, run.number("D"), run.number("C"), loss, None, None))
    for step in block["path"]:
        (n, low, high), d = step["N"], step["D"][0]
        rows.append(("path", None, n, d, step["flops"], None, low, high))
    rows += [("isoflop", None, None, None, cost, None, None, None) for cost in budgets]
    for level, line in contours:
        rows += [("contour", None, n, d, None, level, None, None) for n, d in line]
    return Drawing(result, HEADER, rows)


def parametric(study: Study) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The frontier answer and its block of the parametric approach, which has a law and a path."""
    reason = ""
    for answer in study.answered("frontier"):
        for block in answer["approaches"]:
            if block["approach"] == "parametric" and block["reason"] is None:
                return answer, block
            reason = block["reason"] if block["approach"] == "parametric" else reason
    raise NotInStudy(f"laws.json of {study.name}: no law of N and D, so no contours: {reason}")


def _line_names(answer: Mapping[str, Any]) -> list[str]:
    unit = numbers.loss_unit(answer["y"])
    return [f"equal loss ({unit})", "equal $6ND$ (FLOPs)"]


def _line_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], **LINE), Line2D([], [], **ISOFLOP)]


def _contours(axes: "Axes", law: Mapping[str, Any], x: Any, y: Any) -> list[tuple[float, Line]]:
    """Draw lines of equal loss; give back each with its loss."""
    import numpy as np

    from scalelab.laws.result import predict

    n, d = np.geomspace(x[0], x[1], GRID), np.geomspace(y[0], y[1], GRID)
    mesh = np.array([(size, tokens) for tokens in d for size in n])
    loss = predict(law, mesh).reshape(GRID, GRID)
    levels = contour_levels(float(loss.min()), float(loss.max()))
    lines = axes.contour(n, d, loss, levels=levels, colors=LINE["color"], linewidths=0.7, zorder=1)
    return [
        (float(level), [(float(p[0]), float(p[1])) for p in part])
        for level, parts in zip(lines.levels, lines.allsegs, strict=True)
        for part in parts
        if len(part)
    ]


def contour_levels(low: float, high: float) -> list[float]:
    """Round losses between the least and the largest, about evenly in the logarithm."""
    steps = style.spread_ticks(low, high, gap=1 / (LEVELS + 1), most=LEVELS)
    return steps or [math.sqrt(low * high)]


def shown_budgets(flops: Sequence[float], x: Any, y: Any) -> list[float]:
    """The design's budgets, else powers of ten that cross the panel."""
    if len(flops) > 2:
        return list(flops)
    first, last = (math.log10(6 * n * d) for n, d in zip(x, y, strict=True))
    return [10.0**power for power in range(math.ceil(first), math.floor(last) + 1)]


def _label_lines(
    axes: "Axes",
    contours: Sequence[tuple[float, Line]],
    budgets: Sequence[float],
    block: Mapping[str, Any],
    points: Line,
) -> None:
    """Losses and budgets written on their lines, each where most is free around it."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    along = [x0 * (x1 / x0) ** (step / GRID) for step in range(GRID + 1)]
    lines = {cost: [(n, cost / 6 / n) for n in along if y0 < cost / 6 / n < y1] for cost in budgets}
    path = dense([(step["N"][0], step["D"][0]) for step in block["path"]])
    taken = [*path, *[(n, RATIO * n) for n in along], *points]
    crossing = [place for line in lines.values() for place in line]
    for loss, line in contours:
        taken += write_along(axes, f"{loss:g}", line, taken + crossing, LINE["color"])
    crossing = [place for _, line in contours for place in line]
    for cost, line in lines.items():
        taken += write_along(axes, series.flops_text(cost), line, taken + crossing, SOFT)


def _path(
    axes: "Axes", block: Mapping[str, Any], last: float, level: str
) -> tuple[list[Any], list[str]]:
    """The compute-optimal path; its band is that of N at each budget, drawn along the budget."""
    handles: list[Any] = []
    labels = []
    inside = [step for step in block["path"] if step["flops"] <= last * 1.001]
    beyond = [step for step in block["path"] if step["flops"] >= last / 1.001]
    for part, colour, dashes, text in (
        (inside, style.LAW, "solid", f"optimal path, {level} band"),
        (beyond, style.AHEAD, series.AHEAD_DASHES, "beyond the budgets"),
    ):
        if len(part) < 2:
            continue
        n, d = [step["N"][0] for step in part], [step["D"][0] for step in part]
        (line,) = axes.plot(n, d, color=colour, linewidth=1.4, linestyle=dashes, zorder=3)
        known = [(step["flops"], *_drawable(step["N"])) for step in part if None not in step["N"]]
        edge = [(low, flops / 6 / low) for flops, low, _ in known]
        edge += [(high, flops / 6 / high) for flops, _, high in known[::-1]]
        handles.append(line)
        if edge:
            shape: dict[str, Any] = {"color": colour, "alpha": 0.2, "linewidth": 0}
            (area,) = axes.fill(*zip(*edge, strict=True), **shape, zorder=2)
            handles[-1] = (area, line)
        labels.append(text)
    return handles, labels


def _drawable(size: Sequence[float]) -> tuple[float, float]:
    """The ends of (N, low, high); one at 0 or beyond all sizes is drawn far outside the panel."""
    n, low, high = size
    return max(low, n / FAR), min(high, n * FAR)
