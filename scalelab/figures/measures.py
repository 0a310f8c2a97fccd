"""What was measured beside the loss, by size: one panel a quantity."""

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("column", "what", "N", "value", "se", "note")
UNITS = {"nats": "nats/token"}
"""What the last word of a quantity's name says of its unit; others are shares and scores."""


@figure("What was measured beside the loss, by size", "double", needs="measures")
def draw(study: Study, width: str) -> Drawing:
    """A mark a size with the standard error of the text, and the line of the trend.

    A line whose slope may be none is dashed.
    """
    block = study.answered("trend")[0]
    found = block["rows"]
    columns = min(len(found), 3 if width == "double" else 1)
    lines = -(-len(found) // columns)
    result = style.new_figure(width, 0.5 + 1.55 * lines)
    panels = result.subplots(lines, columns, squeeze=False, sharex=True)
    rows: list[tuple[Any, ...]] = []
    for row, axes in itertools.zip_longest(found, panels.flat):
        if row is None:
            axes.set_visible(False)
        else:
            rows += _panel(axes, row)
    # Of a column whose last panels are empty the lowest one has the numbers of the axis.
    for place in range(columns):
        lowest = panels[(len(found) - 1 - place) // columns, place]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(numbers.column_label(None))
    result.align_ylabels()
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _panel(axes: "Axes", row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    sizes, (start, slope) = row["sizes"], row["line"]
    look = series.looks(1)[0]
    x, y = [one["N"] for one in sizes], [one["value"] for one in sizes]
    errors = [one["se"] or 0.0 for one in sizes]
    axes.errorbar(
        x, y, yerr=errors, fmt="none", ecolor=look["color"], elinewidth=0.8, capsize=1.6, zorder=2
    )
    series.dots(axes, x, y, look)
    series.log_axis(axes, "x", *series.log_range(x), inches=1.5)
    ends = [min(x), max(x)]
    line = [start + slope * math.log10(n) for n in ends]
    low, high = row["interval"]
    clear = low is not None and high is not None and (low > 0 or high < 0)
    dashes = "-" if clear else (0, (3, 2))
    axes.plot(ends, line, color=style.LAW, linewidth=1.0, linestyle=dashes, zorder=1)
    measure, _, name = row["column"].partition("/")
    *words, last = name.split("_")
    unit = f" ({UNITS[last]})" if last in UNITS else ""
    told = " ".join(words if last in UNITS else [*words, last])
    axes.set_title(
        f"{measure.replace('_', ' ')}: {told}", loc="left", fontsize=style.small(), pad=3
    )
    axes.set_ylabel(told + unit)
    bottom, top = axes.get_ylim()
    axes.set_yticks(style.linear_ticks(bottom, top, 5))
    axes.set_ylim(bottom, top)
    note = numbers.with_interval(slope, low, high)
    marks = [(row["column"], "size", one["N"], one["value"], one["se"], "") for one in sizes]
    drawn = [(row["column"], "line", n, v, None, note) for n, v in zip(ends, line, strict=True)]
    return [*marks, *drawn]
