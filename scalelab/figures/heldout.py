"""Extrapolation put to the test: the farthest sizes left out of the fit, predicted and observed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = (
    *("sizes_left_out", "fitted_on", "x", "x_over_largest_fitted", "predicted", "low", "high"),
    *("observed", "error_percent"),
)
Test = tuple[int, int, float, float, float, float | None, float | None, float, float]
"""A row of the CSV."""


@figure(
    "Predictions of the sizes that were left out of the fit, against what was observed",
    "double",
    "a law with sizes enough to leave some out",
)
def draw(study: Study, width: str) -> Drawing:
    """Left predicted against observed loss, right the error against how far the fit had to reach.

    One marker a prediction, one look for each number of sizes left out.
    """
    fit = next((one for one in study.fits if one.get("heldout_series")), None)
    if fit is None:
        raise NotInStudy(f"laws.json of {study.name}: no fit with sizes enough to leave one out")
    rows = tests(fit)
    wide = width == "double"
    result = style.new_figure(width, 3.1 if wide else 5.4)
    left, right = result.subplots(*((1, 2) if wide else (2, 1)))
    counts = sorted({row[0] for row in rows})
    looks = dict(zip(counts, series.looks(len(counts)), strict=True))
    for row in rows:
        count, _, _, reach, middle, low, high, observed, error = row
        look = looks[count]
        series.dots(left, [observed], [middle], look)
        series.bar(left, observed, middle, (low, high), look["color"])
        # Markers of one size stand side by side.
        place = reach * 1.015 ** (2 * counts.index(count) - len(counts) + 1)
        series.dots(right, [place], [error], look)
        ends = [None if end is None else 100 * (end / observed - 1) for end in (low, high)]
        series.bar(right, place, error, ends, look["color"])
    _agreement(left, rows)
    _errors(right, rows)
    unit = numbers.loss_label(fit).removeprefix("held-out ")
    left.set_xlabel(f"observed {unit}")
    left.set_ylabel(f"predicted {unit}")
    name = fit["x"] if isinstance(fit["x"], str) else fit["x"][0]
    right.set_xlabel(f"${numbers.symbol(name)}$ over the largest fitted one")
    right.set_ylabel("error of the prediction (%)")
    level = numbers.percent(fit.get("interval_level", 0.95))
    labels = [f"{count} left out" if count > 1 else "largest size left out" for count in counts]
    handles = [_handle(looks[count]) for count in counts]
    title = f"bars: {level} intervals of a new run"
    result.suptitle(title, fontsize=style.small(), x=0.01, ha="left")
    series.legend_below(result, handles, labels, len(labels) if wide else 2)
    style.settle(result)
    return Drawing(result, HEADER, [tuple(row) for row in rows])


def tests(fit: Mapping[str, Any]) -> list[Test]:
    """The predictions of a fit's `heldout_series`, a row each."""
    name = fit["x"] if isinstance(fit["x"], str) else fit["x"][0]
    rows: list[Test] = []
    for block in fit["heldout_series"]:
        out = [float(point[name]) for point in block["points"]]
        rest = [float(point[name]) for point in fit["points"]]
        # A law that rises is extrapolated downwards.
        down = min(out) <= min(rest)
        edge = (
            min(x for x in rest if x > max(out)) if down else max(x for x in rest if x < min(out))
        )
        for point, x in zip(block["points"], out, strict=True):
            values = {key.partition("_")[0]: value for key, value in point.items()}
            middle, observed = float(values["predicted"]), float(values["observed"])
            rows.append(
                (
                    int(block["sizes_left_out"]),
                    int(block["fitted_on"]),
                    x,
                    x / edge,
                    middle,
                    point["low"],
                    point["high"],
                    observed,
                    100 * (middle / observed - 1),
                )
            )
    return rows


def _agreement(axes: "Axes", rows: list[Test]) -> None:
    """Equal scales around the losses, and the line where prediction and observation agree."""
    known = [row[7] for row in rows] + [row[4] for row in rows]
    # An end of an interval that is far away would press everything else into a corner.
    known += [end for row in rows for end in row[5:7] if end and 0.8 < end / row[7] < 1.25]
    low, high = series.log_range(known, 0.1)
    axes.plot([low, high], [low, high], color=style.GUIDE, linewidth=0.8, zorder=1)
    for which in ("x", "y"):
        series.log_axis(axes, which, low, high, inches=2.2)


def _errors(axes: "Axes", rows: list[Test]) -> None:
    """The line of no error, and a scale that shows what is near it."""
    axes.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=1)
    reach = 1.3 * max(abs(row[8]) for row in rows)
    ends = [100 * (end / row[7] - 1) for row in rows for end in row[5:7] if end]
    reach = max([reach, 1.0, *(1.1 * abs(end) for end in ends if abs(end) < max(3 * reach, 5))])
    axes.set_ylim(-reach, reach)
    axes.set_yticks(style.linear_ticks(-reach, reach, 6))
    series.log_axis(axes, "x", *series.log_range([1.0, *(row[3] for row in rows)]), inches=2.4)


def _handle(look: Mapping[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **series.marker(look))
