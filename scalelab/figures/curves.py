"""Training curves of all runs against tokens or FLOPs, coloured by size."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scalelab.figures import style
from scalelab.figures.registry import Drawing
from scalelab.figures.study import Run, Study, even, read_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("what", "run", "label", "N", "seed", "x", "loss_nats")


SMOOTHED = 5
"""Lines of a curve that make one value of the envelope: the least of noisy ones is the luckiest."""
ENVELOPE_STEPS = 80
MOST = 500
"""Runs that are drawn, evenly chosen of more; the CSV has all of them."""


def draw_curves(
    study: Study, width: str, column: str, label: str, end: str, envelope: bool = False
) -> Drawing:
    """One line a run: training loss against `column` of metrics.jsonl (tokens or flops).

    The held-out loss is a marker at the run's `end` column (D or C) of runs.csv. `envelope`: also
    the least loss of all runs at each x.
    """
    from matplotlib.colors import LogNorm

    result = style.new_figure(width, 2.7 if width == "single" else 3.6)
    axes = result.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({run.size for run in study.runs})
    stretch = 1.0 if len(sizes) > 1 else 2.0
    norm = LogNorm(sizes[0] / stretch, sizes[-1] * stretch)
    colours = style.size_colours()
    colour_of: Callable[[Run], Any] = lambda run: colours(norm(run.size))  # noqa: E731
    rows: list[tuple[Any, ...]] = []
    lines: list[Any] = []
    seen: dict[float, int] = {}
    curves = {
        run.id: [(point[column], point["loss_nats"]) for point in read_curve(study, run)]
        for run in study.runs
    }
    tops = [loss for run in study.runs if run.ok for _, loss in curves[run.id]]
    drawn = {run.id for run in even(study.runs, MOST)}
    for run in study.runs:
        line = curves[run.id]
        repeat = seen[run.size] = seen.get(run.size, -1) + 1
        rows += [_row("training", run, *point) for point in line]
        last, loss = run.number(end), run.number("loss_nats")
        if run.ok and last and loss:
            rows.append(_row("held-out", run, last, loss))
        if run.id not in drawn:
            continue
        if not run.ok:
            line = _before_blow_up(line, max(tops, default=math.inf))
        if line:
            _line(axes, line, colour_of(run), run.ok, repeat)
            lines.append(line)
        if run.ok and last and loss:
            _dot(axes, last, loss, colour_of(run))
            lines.append([(last, loss)])
    lowest = lower_envelope([curves[run.id] for run in study.runs if run.ok]) if envelope else []
    if lowest:
        axes.plot(*zip(*lowest, strict=True), color=style.AHEAD, linewidth=1.1, zorder=2.5)
        rows += [("envelope", None, None, None, None, x, loss) for x, loss in lowest]
    _limits(axes, study, rows)
    axes.set_xlabel(label)
    axes.set_ylabel("loss (nats per token)")
    _colorbar(result, axes, norm, colours, sizes)
    style.plain_log_axis(axes)
    style.settle(result)
    _legend(axes, study, lines, any(count > 0 for count in seen.values()), bool(lowest))
    return Drawing(result, HEADER, rows)


def lower_envelope(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The least loss reached with at most x, at log-spaced x, each curve smoothed over some lines.

    Empty without two curves.
    """
    import numpy as np

    known = []
    for curve in curves:
        if len(curve) >= SMOOTHED:
            x, loss = np.log(np.array(curve)).T
            window = np.full(SMOOTHED, 1 / SMOOTHED)
            known.append([np.convolve(part, window, mode="valid") for part in (x, loss)])
    if len(known) < 2:
        return []
    ends = min(x[0] for x, _ in known), max(x[-1] for x, _ in known)
    grid = np.linspace(*ends, ENVELOPE_STEPS)
    each = [np.interp(grid, x, loss, left=np.inf) for x, loss in known]
    least = np.minimum.accumulate(np.min(each, axis=0))
    steps = zip(np.exp(grid), np.exp(least), strict=True)
    return [(float(x), float(loss)) for x, loss in steps]


def _row(what: str, run: Run, x: float, loss: float) -> tuple[Any, ...]:
    return (what, run.id, run.label, int(run.size), run.columns.get("seed"), x, loss)


def _line(axes: "Axes", line: list[Any], colour: Any, ok: bool, repeat: int) -> None:
    dashes = "solid" if repeat == 0 else (0, (3, 1.2))
    axes.plot(
        *zip(*line, strict=True),
        color=colour,
        linestyle=dashes if ok else (0, (1, 1)),
        linewidth=0.9,
        zorder=2,
    )
    if not ok:
        axes.plot(*line[-1], "x", color=style.FAILED, markersize=5, markeredgewidth=1.2, zorder=4)


def _before_blow_up(line: list[Any], top: float) -> list[Any]:
    # A loss that explodes would set the scale of the axis; the CSV has all of it.
    for index, (_, loss) in enumerate(line):
        if loss > top:
            return line[:index]
    return line


def _dot(axes: "Axes", x: float, loss: float, colour: Any) -> None:
    axes.plot(
        x,
        loss,
        "o",
        markersize=3.8,
        markerfacecolor=colour,
        markeredgecolor=style.INK,
        markeredgewidth=0.6,
        zorder=3,
    )


def _limits(axes: "Axes", study: Study, rows: list[tuple[Any, ...]]) -> None:
    good = {None, *(run.id for run in study.runs if run.ok)}
    chosen = [row for row in rows if row[1] in good] or rows
    if not chosen:
        axes.set_xlim(1, 10)
        axes.set_ylim(1, 10)
        return
    xs, ys = [row[5] for row in chosen], [row[6] for row in chosen]
    margin = (max(xs) / min(xs)) ** 0.04 if max(xs) > min(xs) else 2
    axes.set_xlim(min(xs) / margin, max(xs) * margin)
    style.power_log_axis(axes.xaxis, *axes.get_xlim())
    pad = max((max(ys) / min(ys)) ** 0.06, 1.02)
    axes.set_ylim(min(ys) / pad, max(ys) * pad)


def _colorbar(figure: Any, axes: "Axes", norm: Any, colours: Any, sizes: list[float]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import NullLocator

    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=28)
    bar.set_label("non-embedding parameters $N$")
    bar.outline.set_linewidth(0.5)
    style.power_log_axis(bar.ax.yaxis, norm.vmin, norm.vmax)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    # Each trained size is a notch inside the bar, so that a colour can be named.
    for size in sizes:
        bar.ax.axhline(size, xmin=0, xmax=0.35, color="white", linewidth=0.8)


def _legend(axes: "Axes", study: Study, lines: list[Any], repeated: bool, envelope: bool) -> None:
    from matplotlib.lines import Line2D

    grey = "#555555"
    some = f", {MOST:,} of {len(study.runs):,} runs" if len(study.runs) > MOST else ""
    handles = [Line2D([], [], color=grey, linewidth=0.9, label=f"training loss{some}")]
    if repeated:
        handles.append(
            Line2D([], [], color=grey, linewidth=0.9, linestyle=(0, (3, 1.2)), label="other seeds")
        )
    if envelope:
        handles.append(Line2D([], [], color=style.AHEAD, linewidth=1.1, label="lower envelope"))
    handles.append(
        Line2D(
            [],
            [],
            color=grey,
            marker="o",
            linestyle="none",
            markersize=3.8,
            markeredgecolor=style.INK,
            markeredgewidth=0.6,
            label=f"{study.objective.title} at the end",
        )
    )
    if any(not run.ok for run in study.runs):
        handles.append(
            Line2D(
                [],
                [],
                color=style.FAILED,
                marker="x",
                linestyle="none",
                markersize=5,
                markeredgewidth=1.2,
                label="run that failed",
            )
        )
    style.place_legend(axes, lines, ("upper right", "lower left"), handles=handles)
