"""What fewer bits and fewer weights cost: loss against bytes, and how the damage scales."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("panel", "what", "N", "D", "x", "y", "low", "high")
Rows = list[tuple[Any, ...]]


@figure("Loss against bytes, and the damage of compression", "double", needs="measures of damage")
def draw(study: Study, width: str) -> Drawing:
    """Models in each format with the front of least loss; the exponents of the damage.

    A study that prunes alone has no bytes, and only the second panel.
    """
    block = study.answered("compression")[0]
    front, lines = block["front"], block["rows"]
    if not front and not lines:
        raise NotInStudy("the figure compression needs a damage that shows, found none")
    kinds = [draw for draw, some in ((_bytes, front), (_exponents, lines)) if some]
    wide = width == "double"
    tall = max(2.5, 0.9 + 0.2 * len(lines))
    result = style.new_figure(width, tall if wide else tall * len(kinds))
    shape = (1, len(kinds)) if wide else (len(kinds), 1)
    panels = result.subplots(*shape, squeeze=False)
    rows: Rows = []
    for kind, axes in zip(kinds, panels.flat, strict=True):
        rows += kind(axes, block)
    # Text is measured at 72 dots an inch, where long names come out some points short.
    layout: Any = result.get_layout_engine()
    layout.set(w_pad=0.06)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _bytes(axes: "Axes", block: Mapping[str, Any]) -> Rows:
    """Loss against bytes, a look a format, and the steps of the front."""
    points = block["front"]
    forms = sorted({one["form"] for one in points}, key=lambda name: int(name.strip("flopint")))
    rows: Rows = []
    for form, look in zip(forms, series.looks(len(forms)), strict=True):
        here = [one for one in points if one["form"] == form]
        dots = series.dots(axes, [p["bytes"] for p in here], [p["loss"] for p in here], look)
        dots.set_label(form)
        rows += [("bytes", form, p["N"], p["D"], p["bytes"], p["loss"], None, None) for p in here]
    best = [one for one in points if one["front"]]
    x, y = [one["bytes"] for one in best], [one["loss"] for one in best]
    axes.step(x, y, where="post", color=style.LAW, linewidth=0.9, zorder=1, label="front")
    rows += [("front", p["form"], p["N"], p["D"], p["bytes"], p["loss"], None, None) for p in best]
    series.log_axis(axes, "x", *series.log_range([one["bytes"] for one in points]), inches=2.6)
    axes.set_xlabel("weights in memory (bytes)")
    axes.set_ylabel("held-out loss (nats/token)")
    axes.legend(loc="best", ncols=2)
    return rows


def _exponents(axes: "Axes", block: Mapping[str, Any]) -> Rows:
    """The exponents of N and of D/N of each way, the first on top."""
    names = {"exponent_N": "of $N$", "exponent_tokens_per_parameter": "of $D/N$"}
    lines, rows = block["rows"], []
    for (name, label), look, shift in zip(
        names.items(), series.looks(2), (0.14, -0.14), strict=True
    ):
        found = [(len(lines) - at + shift, row) for at, row in enumerate(lines) if row[name]]
        for place, row in found:
            value, low, high = row[name]
            series.bar(axes, value, place, (low, high), look["color"], across=True)
            rows.append(("exponents", f"{row['way']} {name}", None, None, value, place, low, high))
        if found:
            dots = series.dots(axes, [r[name][0] for _, r in found], [p for p, _ in found], look)
            dots.set_label(label)
    axes.axvline(0, color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    told = [row["way"].replace("/", ": ").replace("_", " ") for row in lines]
    axes.set_yticks(range(len(lines), 0, -1), told, fontsize=style.small())
    axes.set_ylim(0.4, len(lines) + 0.6)
    low, high = axes.get_xlim()
    axes.set_xticks(style.linear_ticks(low, high, 5))
    axes.set_xlabel(f"exponent of the damage ({numbers.percent(block['level'])} interval)")
    axes.legend(loc="best")
    return rows
