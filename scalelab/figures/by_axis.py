"""A law for each value of an axis: the curves, and how exponents and offsets differ."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("axis", "value", "what", "x", "y", "low", "high")
MOST_NAMES = 4
"""Columns of the legend."""
Rows = list[tuple[Any, ...]]


@figure("The law of each value of a crossed setting", "double", needs="an answer by_axis")
def draw(study: Study, width: str) -> Drawing:
    """For each axis three panels: runs and laws; exponents; offsets over the reference's."""
    answers = study.answered("by_axis")
    wide = width == "double"
    down, across = (len(answers), 3) if wide else (3 * len(answers), 1)
    result = style.new_figure(width, (2.4 if wide else 5.2) * len(answers) + 0.35)
    ratios: dict[str, Any] = (
        {"width_ratios": (1.5, 1, 1)} if wide else {"height_ratios": (1.7, 1, 1) * len(answers)}
    )
    panels = result.subplots(down, across, squeeze=False, gridspec_kw=ratios).reshape(-1, 3)
    rows: Rows = []
    handles: dict[str, Any] = {}
    for (curves, exponents, offsets), answer in zip(panels, answers, strict=True):
        looks = series.looks(len(answer["values"]))
        for one, look in zip(answer["values"], looks, strict=True):
            handles[str(one["value"])] = _curve(curves, one, look)
            rows += _rows(answer, one)
        _law_axes(curves, answer)
        level = numbers.percent(answer["level"])
        _intervals(exponents, answer, "exponent", looks)
        exponents.set_xlabel(rf"exponent $\alpha$ ({level} interval)")
        _intervals(offsets, answer, "offset_ratio", looks)
        offsets.axvline(1, color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
        offsets.set_xlabel(f"loss above the floor\nover that of {answer['reference']}")
    series.legend_below(result, list(handles.values()), list(handles), MOST_NAMES)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _curve(axes: "Axes", one: Mapping[str, Any], look: Mapping[str, Any]) -> Any:
    (line,) = axes.plot(
        *zip(*one["curve"], strict=True), color=look["color"], linewidth=1.0, zorder=2
    )
    x, y = zip(*one["points"], strict=True)
    return line, series.dots(axes, x, y, look)


def _law_axes(axes: "Axes", answer: Mapping[str, Any]) -> None:
    points = [point for one in answer["values"] for point in (*one["points"], *one["curve"])]
    series.log_axis(axes, "x", *series.log_range([x for x, _ in points]), inches=2.6)
    series.log_axis(axes, "y", *series.log_range([y for _, y in points]), inches=1.9)
    axes.set_xlabel(numbers.column_label(answer))
    axes.set_ylabel(numbers.loss_label(answer))


def _intervals(
    axes: "Axes", answer: Mapping[str, Any], name: str, looks: Sequence[Mapping[str, Any]]
) -> None:
    """One line a value, the first on top; the reference's own offset is 1."""
    count = len(answer["values"])
    for place, (one, look) in enumerate(zip(answer["values"], looks, strict=True)):
        value, low, high = one[name] or (1.0, None, None)
        series.bar(axes, value, count - place, (low, high), look["color"], across=True)
        series.dots(axes, [value], [count - place], look)
    axes.set_ylim(0.4, count + 0.6)
    axes.set_yticks(
        range(count, 0, -1), [str(one["value"]) for one in answer["values"]], fontsize=style.small()
    )
    low, high = axes.get_xlim()
    axes.set_xticks(style.linear_ticks(low, high, 4))


def _rows(answer: Mapping[str, Any], one: Mapping[str, Any]) -> Rows:
    head = (answer["axis"], one["value"])
    rows: Rows = [(*head, "point", x, y, None, None) for x, y in one["points"]]
    rows += [(*head, "law", x, y, None, None) for x, y in one["curve"]]
    for name in ("exponent", "exponent_difference", "above_floor", "offset_ratio"):
        if one[name] is not None:
            rows.append((*head, name, answer["at"], *one[name]))
    return rows
