"""The exponent of N_opt by each approach, beside what papers found."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import numbers, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

HEADER = ("what", "name", "exponent", "low", "high", "level", "source")
HALF = 0.5
"""N and D grow alike (Hoffmann et al. 2022)."""
OURS: dict[str, Any] = {"marker": "o", "color": style.LAW, "markersize": 4.5}
PAPERS: dict[str, Any] = {
    "marker": "D",
    "color": "#5a5a5a",
    "markerfacecolor": "white",
    "markersize": 3.8,
}


@figure("The exponent of the optimal size by each approach", "double", needs="a frontier")
def draw(study: Study, width: str) -> Drawing:
    """One line an approach with its interval, then the published ones."""
    from scalelab.laws.published import EXPONENTS

    answer = study.answered("frontier")[0]
    made = [block for block in answer["approaches"] if block["reason"] is None]
    rows: list[tuple[Any, ...]] = [
        ("approach", block["approach"], *_estimate(block), answer["level"], block["source"])
        for block in made
    ]
    rows += [
        ("published", item.name, item.exponent, item.low, item.high, item.level, item.source)
        for item in EXPONENTS
    ]
    result = style.new_figure(width, 0.75 + 0.2 * (len(rows) + 1))
    axes = result.subplots()
    axes.axvline(HALF, color=style.GUIDE, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    places = [-(place + (row[0] == "published")) for place, row in enumerate(rows)]
    values = [HALF]
    for place, row in zip(places, rows, strict=True):
        what, _, value, low, high = row[:5]
        look = OURS if what == "approach" else PAPERS
        # A rounded value may lie outside of its own interval (Hoffmann et al., approach 3).
        ends = [value if end is None else end for end in (low, high)]
        sides = [[max(value - ends[0], 0.0)], [max(ends[1] - value, 0.0)]]
        axes.errorbar(value, place, xerr=sides, linewidth=1.1, capsize=2.2, zorder=3, **look)
        values += [end for end in (value, low, high) if end is not None]
    wide = width == "double"
    axes.set_yticks(places, [_name(row, wide) for row in rows])
    for place, row in zip(places, rows, strict=True) if wide else ():
        spot = (1.02, place)
        axes.annotate(_value(row), spot, xycoords=("axes fraction", "data"), va="center")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(places[-1] - 0.6, 0.6)
    low, high = max(min(values), -0.5), min(max(values), 1.5)
    pad = 0.08 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    axes.set_xticks(style.linear_ticks(low - pad, high + pad, 6))
    axes.set_xlabel(r"exponent $a$ of $N_\mathrm{opt} \propto C^a$")
    # Not settled: the names are long, and their width is that of the resolution they are saved at.
    return Drawing(result, HEADER, rows)


def _estimate(block: Mapping[str, Any]) -> tuple[float, float | None, float | None]:
    low, high = block["N_opt"]["interval"]
    return float(block["N_opt"]["exponent"]), low, high


def _name(row: tuple[Any, ...], wide: bool) -> str:
    what, name = row[:2]
    text = f"{name}, this study" if what == "approach" else str(name)
    return text if wide else text.replace(" et al.", "").replace(", this study", "")


def _value(row: tuple[Any, ...]) -> str:
    """`0.534 [0.517, 0.550], 95%`."""
    what, _, value, low, high, level, _ = row
    if what == "published":
        text = f"{value:.2f}" if low is None else f"{value:.2f} [{low:.3f}, {high:.3f}]"
    else:
        text = numbers.with_interval(value, low, high).replace("-", "\N{MINUS SIGN}")
    return text if low is None else f"{text}, {numbers.percent(level)}"
