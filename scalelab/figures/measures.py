"""What was measured beside the loss, by size: one panel a quantity."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("column", "what", "D", "N", "value", "se", "note")
UNITS = {"nats": "nats/token"}
"""What the last word of a quantity's name says of its unit; others are shares and scores."""
WHOLE = {"margin": "nats"}
"""What the word before it makes of that: of whole answers, not of tokens."""

LABEL = 26
"""Letters that fit beside a panel."""


@figure("What was measured beside the loss, by size", "double", needs="measures")
def draw(study: Study, width: str) -> Drawing:
    """A mark a size with the standard error of the text, and the line of the trend, for each D that
    has a trend of its own. A line whose slope may be none is dashed.
    """
    block = study.answered("trend")[0]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in block["rows"]:
        found.setdefault(row["column"], []).append(row)
    tokens = sorted({row["tokens"] for row in block["rows"] if row["tokens"]})
    looks = dict(zip(tokens or [None], series.looks(len(tokens) or 1), strict=True))
    columns = min(len(found), 3 if width == "double" else 1)
    lines = -(-len(found) // columns)
    result = style.new_figure(width, 0.5 + 1.55 * lines + (0.3 if tokens else 0))
    panels = result.subplots(lines, columns, squeeze=False, sharex=True)
    rows: list[tuple[Any, ...]] = []
    for trends, axes in itertools.zip_longest(found.values(), panels.flat):
        if trends is None:
            axes.set_visible(False)
        else:
            rows += _panel(axes, trends, looks)
    # Of a column whose last panels are empty the lowest one has the numbers of the axis.
    for place in range(columns):
        lowest = panels[(len(found) - 1 - place) // columns, place]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(numbers.column_label(None))
    if tokens:
        handles = [
            panels.flat[0].plot([], [], **{**series.marker(looks[d]), "linestyle": "-"})[0]
            for d in tokens
        ]
        names = [f"$D$ = {numbers.short(d)}" for d in tokens]
        series.legend_below(result, handles, names, 6 if width == "double" else 2)
    result.align_ylabels()
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _panel(
    axes: "Axes", trends: Sequence[Mapping[str, Any]], looks: Mapping[Any, Mapping[str, Any]]
) -> list[tuple[Any, ...]]:
    """One quantity: its name as the title, and a series for each D."""
    rows = [row for one in trends for row in _series(axes, one, looks[one["tokens"]])]
    series.log_axis(axes, "x", *series.log_range([row[3] for row in rows]), inches=1.5)
    measure, _, name = trends[0]["column"].partition("/")
    *words, last = name.split("_")
    told = " ".join(words if last in UNITS else [*words, last])
    title = f"{measure.replace('_', ' ')}: {told}"
    axes.set_title(title, loc="left", fontsize=style.small(), pad=3)
    unit = WHOLE.get(words[-1] if words else "", UNITS.get(last)) if last in UNITS else None
    label = f"{told} ({unit})" if unit else told
    # As long as a panel is high, or in two lines.
    axes.set_ylabel(label if len(label) <= LABEL else label.replace(" (", "\n("))
    low, high = axes.get_ylim()
    axes.set_yticks(style.linear_ticks(low, high, 5))
    axes.set_ylim(low, high)
    return rows


def _series(
    axes: "Axes", trend: Mapping[str, Any], look: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    sizes, (start, slope) = trend["sizes"], trend["line"]
    x, y = [one["N"] for one in sizes], [one["value"] for one in sizes]
    errors = [one["se"] or 0.0 for one in sizes]
    colour = look["color"]
    axes.errorbar(
        x, y, yerr=errors, fmt="none", ecolor=colour, elinewidth=0.8, capsize=1.6, zorder=2
    )
    series.dots(axes, x, y, look)
    ends = [min(x), max(x)]
    line = [start + slope * math.log10(n) for n in ends]
    low, high = trend["interval"]
    clear = low is not None and high is not None and (low > 0 or high < 0)
    dashes: Any = "-" if clear else (0, (3, 2))
    drawn = colour if trend["tokens"] else style.LAW
    axes.plot(ends, line, color=drawn, linewidth=1.0, linestyle=dashes, zorder=1)
    head = (trend["column"], "size", trend["tokens"])
    marks = [(*head, one["N"], one["value"], one["se"], "") for one in sizes]
    note = numbers.with_interval(slope, low, high)
    head = (trend["column"], "line", trend["tokens"])
    return [*marks, *((*head, n, v, None, note) for n, v in zip(ends, line, strict=True))]
