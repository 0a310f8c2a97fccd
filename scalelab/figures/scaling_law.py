"""Held-out loss against size with the primary law, its band, its extrapolation and residuals."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.figures import style
from scalelab.figures.law_panel import HEADER, RunPoint, draw_law, finish, marker, run_points
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOAL_PERCENT = 1.0
"""Residuals within this many percent of the loss are drawn between the guide lines."""


@figure("Held-out loss against model size, with the fitted law and its residuals")
def draw(study: Study, width: str) -> Drawing:
    """The primary fit; with no fit in laws.json, the points alone."""
    fit = next(iter(study.one_dimensional), None)
    result = style.new_figure(width, 3.6 if width == "single" else 4.4)
    if fit is None:
        axes = result.subplots()
        return Drawing(result, HEADER, finish(draw_law(axes, study, None)))
    top, bottom = result.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.4, 1)})
    _residuals(bottom, run_points(study, fit), str(fit.get("y", "loss_nats")))
    result.align_ylabels()
    return Drawing(result, HEADER, finish(draw_law(top, study, fit, foot=bottom)))


def _residuals(axes: "Axes", points: list[RunPoint], column: str) -> None:
    axes.axhline(0, color=style.LAW, linewidth=0.9, zorder=1)
    for side in (-GOAL_PERCENT, GOAL_PERCENT):
        axes.axhline(side, color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    reach = 1.35 * GOAL_PERCENT
    for point in points:
        residual = point.residual_percent
        if residual is None:
            continue
        error = _error_percent(point, column)
        reach = max(reach, 1.15 * (abs(residual) + (error or 0)))
        axes.errorbar(
            point.x,
            residual,
            error,
            **_marker(point, residual),
            ecolor=style.GUIDE,
            elinewidth=0.8,
            zorder=3,
        )
    axes.set_ylim(-reach, reach)
    ticks = style.linear_ticks(-reach, reach, 5)
    axes.set_yticks([-1, 0, 1] if reach < 2 else ticks)
    axes.set_ylabel("residual (%)")
    axes.margins(x=0)


def _marker(point: RunPoint, residual: float) -> Mapping[str, Any]:
    # Another shape, not just another colour, for a run outside the guide lines.
    outside = {"marker": "s", "markeredgecolor": style.AHEAD, "markerfacecolor": style.AHEAD}
    return {**marker(point.repeated), **(outside if abs(residual) > GOAL_PERCENT else {})}


def _error_percent(point: RunPoint, column: str) -> float | None:
    """One standard error of the held-out loss (sampling of documents), in percent of the law."""
    error = point.run.number("loss_nats_se") if column == "loss_nats" else None
    return 100 * error / point.predicted if error and point.predicted else None
