"""A law for each kind of sequence: a panel each in its own unit, and the exponents."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("axis", "value", "unit", "what", "x", "y", "low", "high")
Rows = list[tuple[Any, ...]]


@figure("The law of each kind of sequence", "double", needs="an answer modalities")
def draw(study: Study, width: str) -> Drawing:
    """Runs and laws of each kind on an axis of its own, and the exponents with intervals."""
    (answer,) = study.answered("modalities")
    kinds = answer["values"]
    across = 2 if width == "double" else 1
    down = -(-(len(kinds) + 1) // across)
    result = style.new_figure(width, 2.1 * down)
    panels = result.subplots(down, across, squeeze=False).ravel()
    looks = series.looks(len(kinds))
    rows: Rows = []
    for axes, one, look in zip(panels, kinds, looks, strict=False):
        _law(axes, answer, one, look)
        rows += _rows(answer, one)
    _exponents(panels[len(kinds)], answer, looks)
    for axes in panels[len(kinds) + 1 :]:
        axes.set_visible(False)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _law(
    axes: "Axes", answer: Mapping[str, Any], one: Mapping[str, Any], look: Mapping[str, Any]
) -> None:
    axes.plot(*zip(*one["curve"], strict=True), color=look["color"], linewidth=1.0, zorder=2)
    x, y = zip(*one["points"], strict=True)
    series.dots(axes, x, y, look)
    seen = [*one["points"], *one["curve"]]
    series.log_axis(axes, "x", *series.log_range([size for size, _ in seen]), inches=2.4)
    series.log_axis(axes, "y", *series.log_range([loss for _, loss in seen]), inches=1.5)
    axes.set_title(str(one["value"]), fontsize=style.small())
    axes.set_xlabel(numbers.column_label(answer))
    axes.set_ylabel(f"held-out loss\n({one['unit']})")


def _exponents(axes: "Axes", answer: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]) -> None:
    """One line a kind, the first on top."""
    kinds = answer["values"]
    count = len(kinds)
    for place, (one, look) in enumerate(zip(kinds, looks, strict=True)):
        value, low, high = one["exponent"]
        series.bar(axes, value, count - place, (low, high), look["color"], across=True)
        series.dots(axes, [value], [count - place], look)
    axes.set_ylim(0.4, count + 0.6)
    axes.set_yticks(
        range(count, 0, -1), [str(one["value"]) for one in kinds], fontsize=style.small()
    )
    axes.set_xticks(style.linear_ticks(*axes.get_xlim(), 5))
    axes.set_xlabel(rf"exponent $\alpha$ ({numbers.percent(answer['level'])} interval)")


def _rows(answer: Mapping[str, Any], one: Mapping[str, Any]) -> Rows:
    head = (answer["axis"], one["value"], one["unit"])
    rows: Rows = [(*head, "point", x, y, None, None) for x, y in one["points"]]
    rows += [(*head, "law", x, y, None, None) for x, y in one["curve"]]
    for name in ("exponent", "exponent_difference", "floor"):
        if one[name] is not None:
            rows.append((*head, name, answer["at"], *one[name]))
    return rows
