"""Effective data transferred from a checkpoint against the data seen after it, by size."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("start", "what", "N", "D_F", "D_T", "low", "high")
Rows = list[tuple[Any, ...]]


@figure(
    "Effective data transferred against the data seen after the checkpoint",
    "single",
    needs="runs from a checkpoint and from random weights at several D",
)
def draw(study: Study, width: str) -> Drawing:
    """A panel a checkpoint: D_T with intervals, bounds as open triangles, the law as lines.

    D_T below 0 has no place on a logarithmic axis and is in the numbers alone.
    """
    answer = study.answered("transfer")[0]
    values = [one for one in answer["values"] if any(map(_height, one["cells"]))]
    if not values:
        raise NotInStudy("the figure transfer needs a D_T above 0, found none")
    across = 2 if width == "double" and len(values) > 1 else 1
    down = -(-len(values) // across)
    result = style.new_figure(width, 2.6 * down)
    panels = result.subplots(down, across, squeeze=False).ravel()
    rows: Rows = []
    for axes, one in zip(panels, values, strict=False):
        _panel(axes, one, titled=len(values) > 1)
    for axes in panels[len(values) :]:
        axes.set_visible(False)
    for one in answer["values"]:
        rows += _rows(one)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _height(cell: Mapping[str, Any]) -> float:
    """Where a cell stands: D_T, or the least that it can be; 0 where it has no place."""
    if cell["bound"] == "less":
        return 0.0
    found = cell["measured"][1] - cell["D"] if cell["bound"] else cell["transferred"]
    return max(float(found), 0.0)


def _panel(axes: "Axes", one: Mapping[str, Any], titled: bool) -> None:
    cells = [cell for cell in one["cells"] if _height(cell)]
    sizes = sorted({cell["N"] for cell in cells})
    handles: list[Any] = []
    heights = [_height(cell) for cell in cells]
    for n, look in zip(sizes, series.looks(len(sizes)), strict=True):
        here = [cell for cell in cells if cell["N"] == n]
        for cell in here:
            if cell["bound"]:
                shape = {**series.marker(look), "marker": "^", "markerfacecolor": "white"}
                shape |= {"markeredgecolor": look["color"], "markeredgewidth": 0.8}
                axes.plot([cell["D"]], [_height(cell)], **shape, zorder=4)
            else:
                ends = [
                    end if end is not None and end > 0 else None
                    for end in cell["transferred_interval"]
                ]
                series.bar(axes, cell["D"], cell["transferred"], ends, look["color"])
        known = [cell for cell in here if not cell["bound"]]
        handle = series.dots(axes, [c["D"] for c in known], [c["transferred"] for c in known], look)
        handles.append((handle, f"{numbers.short(n)}"))
        if one["law"]:
            x = np.array([min(c["D"] for c in cells), max(c["D"] for c in cells)])
            line = _law(one["law"], x, n)
            heights += line.tolist()
            axes.plot(x, line, color=look["color"], linewidth=0.9, zorder=2)
    series.log_axis(axes, "x", *series.log_range([c["D"] for c in cells]), inches=2.4)
    series.log_axis(axes, "y", *series.log_range(heights, 0.12), inches=1.8)
    axes.set_xlabel("tokens after the checkpoint, $D_F$")
    axes.set_ylabel("effective data transferred,\n$D_T$ (tokens)")
    if titled:
        axes.set_title(str(one["value"]), fontsize=style.small())
    axes.legend(
        [handle for handle, _ in handles],
        [label for _, label in handles],
        title="$N$",
        title_fontsize=style.small(),
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )


def _law(law: Mapping[str, Any], d: Any, n: float) -> Any:
    """D_T of the law at D_F (k,) and one N."""
    value = law["value"][0]
    for name, x in (("D", d), ("N", n)):
        if law[f"exponent_{name}"]:
            value = value * (x / law["at"][name]) ** law[f"exponent_{name}"][0]
    return np.broadcast_to(value, np.shape(d))


def _rows(one: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for cell in one["cells"]:
        head = (one["value"], cell["bound"] or "read off", cell["N"], cell["D"])
        if cell["bound"]:
            end = cell["measured"][1 if cell["bound"] == "more" else 0]
            rows.append((*head, end - cell["D"], None, None))
        else:
            rows.append((*head, cell["transferred"], *cell["transferred_interval"]))
    if law := one["law"]:
        rows.append((one["value"], "law", law["at"]["N"], law["at"]["D"], *law["value"]))
    return rows
