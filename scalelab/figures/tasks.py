"""Tasks by a continuous and by a thresholded score, side by side: by size and by loss."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("task", "panel", "what", "x", "y", "se", "low", "high", "note")
CONTINUOUS = {
    "nats": "loss (nats/token)",
    "margin_nats": "margin (nats)",
    "answer_bits_per_byte": "loss (bits/byte)",
}
"""What the continuous score of a task is: of the right answer, or of it over the others."""
LEAST_RANGE = 0.05
"""An axis of accuracies spans this at least."""
Rows = list[tuple[Any, ...]]


@figure("Tasks: continuous and thresholded scores, by size and loss", "double", needs="tasks")
def draw(study: Study, width: str) -> Drawing:
    """A line of panels a task: its continuous score and its accuracy against N, and its accuracy
    against the loss with the law. Dotted is chance, dashed what law and loss say of a size.
    """
    tasks = study.answered("downstream")[0]["rows"]
    wide = width == "double"
    shape = (len(tasks), 3) if wide else (3 * len(tasks), 1)
    result = style.new_figure(width, 0.5 + 1.45 * shape[0])
    panels = result.subplots(*shape, squeeze=False)
    if not wide:
        panels = panels.reshape(len(tasks), 3)
    rows: Rows = []
    for place, (task, line) in enumerate(zip(tasks, panels, strict=True)):
        kinds = [_continuous, _by_size, _by_loss] if task["continuous"] else [_by_size, _by_loss]
        shown = line[-len(kinds) :]
        for axes in line[: -len(kinds)]:
            axes.set_visible(False)
        for kind, axes in zip(kinds, shown, strict=True):
            rows += [(task["task"], *row) for row in kind(axes, task)]
            if wide and any(
                kind is not _continuous or one["continuous"] for one in tasks[place + 1 :]
            ):
                axes.set_xlabel("")
        shown[0].set_title(
            task["task"].replace("_", " "), loc="left", fontsize=style.small(), pad=3
        )
    result.align_ylabels()
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _continuous(axes: "Axes", task: Mapping[str, Any]) -> Rows:
    """The score without a threshold against N."""
    axes.set_ylabel(CONTINUOUS[task["continuous"]])
    rows = _size_panel(axes, task, "continuous", "continuous")
    low, high = axes.get_ylim()
    _y_axis(axes, low, high)
    return rows


def _by_size(axes: "Axes", task: Mapping[str, Any]) -> Rows:
    panel = "accuracy against N"
    rows = [*_size_panel(axes, task, panel, "accuracy"), *_accuracy_axis(axes, task, panel)]
    line = task["law"]["by_size"] if task["law"] else []
    if line:
        axes.plot(*zip(*line, strict=True), color=style.LAW, linewidth=1.0, linestyle=(0, (3, 2)))
    return [*rows, *(_line(panel, "laws", *point) for point in line)]


def _by_loss(axes: "Axes", task: Mapping[str, Any]) -> Rows:
    panel = "accuracy against loss"
    runs = [one for one in task["runs"] if one["accuracy"] is not None]
    rows = _marks(axes, panel, [(one["loss"], one["accuracy"], one["accuracy_se"]) for one in runs])
    rows += _accuracy_axis(axes, task, panel)
    for loss, value, low, high in task["law"]["line"] if task["law"] else []:
        rows.append(_line(panel, "law", loss, value, low, high, _law_text(task)))
    if task["law"]:
        loss, value, low, high = zip(*task["law"]["line"], strict=True)
        known = [a is not None and b is not None for a, b in zip(low, high, strict=True)]
        axes.fill_between(
            loss,
            [a if k else v for a, v, k in zip(low, value, known, strict=True)],
            [b if k else v for b, v, k in zip(high, value, known, strict=True)],
            color=style.LAW,
            alpha=0.18,
            linewidth=0,
            zorder=1,
        )
        axes.plot(loss, value, color=style.LAW, linewidth=1.0, zorder=2)
    axes.set_xlabel("held-out loss (nats/token)")
    low_x, high_x = axes.get_xlim()
    axes.set_xticks(style.linear_ticks(low_x, high_x, 5))
    axes.set_xlim(low_x, high_x)
    return rows


def _size_panel(axes: "Axes", task: Mapping[str, Any], panel: str, score: str) -> Rows:
    """Marks of the runs against N."""
    runs = [one for one in task["runs"] if one[score] is not None]
    rows = _marks(axes, panel, [(one["N"], one[score], one[f"{score}_se"]) for one in runs])
    series.log_axis(axes, "x", *series.log_range([one["N"] for one in task["runs"]]), inches=1.5)
    axes.set_xlabel(numbers.column_label(None))
    return rows


def _marks(axes: "Axes", panel: str, points: Sequence[tuple[float, float, float | None]]) -> Rows:
    x, y = [one[0] for one in points], [one[1] for one in points]
    (look,) = series.looks(1)
    axes.errorbar(
        x,
        y,
        yerr=[one[2] or 0.0 for one in points],
        fmt="none",
        ecolor=look["color"],
        elinewidth=0.8,
        capsize=1.6,
        zorder=3,
    )
    series.dots(axes, x, y, look)
    return [(panel, "run", *point, None, None, "") for point in points]


def _accuracy_axis(axes: "Axes", task: Mapping[str, Any], panel: str) -> Rows:
    """The same axis for both panels of accuracy, and the line of chance."""
    runs = [one for one in task["runs"] if one["accuracy"] is not None]
    ends = [one["accuracy"] + s * (one["accuracy_se"] or 0.0) for one in runs for s in (-1, 1)]
    ends += [] if task["chance"] is None else [task["chance"]]
    low, high = min(ends), max(max(ends), min(ends) + LEAST_RANGE)
    pad = 0.06 * (high - low)
    axes.set_ylabel("accuracy")
    _y_axis(axes, low - pad, high + pad)
    if task["chance"] is None:
        return []
    axes.axhline(task["chance"], color=style.GUIDE, linewidth=0.8, linestyle=(0, (1, 1.5)))
    return [(panel, "chance", None, task["chance"], None, None, None, "")]


def _line(
    panel: str,
    what: str,
    x: float,
    y: float,
    low: float | None = None,
    high: float | None = None,
    note: str = "",
) -> tuple[Any, ...]:
    return (panel, what, x, y, None, low, high, note)


def _law_text(task: Mapping[str, Any]) -> str:
    params = task["law"]["params"]
    return ", ".join(f"{name} = {value:.6g}" for name, value in params.items())


def _y_axis(axes: "Axes", low: float, high: float) -> None:
    axes.set_yticks(style.linear_ticks(low, high, 4))
    axes.set_ylim(low, high)
