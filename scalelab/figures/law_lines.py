"""What figures of a law in several columns share: which fit, its lines, its residuals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.law_panel import law_text
from scalelab.figures.study import NotInStudy, Run, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = 40
GOAL_PERCENT = 1.0
Groups = dict[tuple[float, ...], list[Mapping[str, Any]]]


def fit_of(study: Study, columns: Sequence[str], law: str | None = None) -> Mapping[str, Any]:
    """The first fit in these columns (of that law); `NotInStudy` where there is none."""
    for fit in study.fits:
        found = [fit["x"]] if isinstance(fit["x"], str) else list(fit["x"])
        if found == list(columns) and law in (None, fit["law"]):
            return fit
    wanted = f"law {law}" if law else "law"
    raise NotInStudy(f"laws.json of {study.name}: no {wanted} fitted in {', '.join(columns)}")


def observed(study: Study, fit: Mapping[str, Any], point: Mapping[str, Any]) -> list[Run]:
    """The runs of a point that have the loss of the fit."""
    column = str(fit.get("y", "loss_nats"))
    return [run for run in study.runs_of(point) if run.number(column) is not None]


def grouped(fit: Mapping[str, Any], columns: Sequence[str]) -> Groups:
    """Points of a fit by their values in some columns, in rising order."""
    groups: Groups = {}
    for point in fit["points"]:
        groups.setdefault(tuple(float(point[c]) for c in columns), []).append(point)
    return dict(sorted(groups.items()))


def spaced(low: float, high: float) -> list[float]:
    """Values evenly apart in logs, both ends included."""
    return [low * (high / low) ** (step / STEPS) for step in range(STEPS + 1)]


def law_line(
    axes: "Axes",
    fit: Mapping[str, Any],
    x: Sequence[float],
    at: Sequence[Sequence[float]],
    less: float = 0.0,
    **look: Any,
) -> list[float]:
    """Draw the law at rows of its columns against x, less a constant; give back its values."""
    import numpy as np

    from scalelab.laws.result import predict

    values = [float(value) for value in predict(fit, np.array(at, dtype=float))]
    axes.plot(x, [value - less for value in values], **look)
    return values


def add_law_text(figure: Any, fit: Mapping[str, Any], a_line: int) -> None:
    """The law above the panels, its parameters with their intervals (`a_line` of them a line)."""
    formula, *params = law_text(fit).split("\n")
    if a_line <= 2:  # one column is too narrow for a law that is told in several parts
        formula = formula.replace(r",\quad ", ",$\n$")
    params.append(f"({numbers.percent(fit.get('interval_level', 0.95))} intervals)")
    lines = ["    ".join(params[k : k + a_line]) for k in range(0, len(params), a_line)]
    text = "\n".join([formula, *lines])
    figure.suptitle(text, fontsize=style.small(), x=0.01, ha="left", linespacing=1.35)


def residual_panel(
    axes: "Axes", shown: Sequence[tuple[Sequence[float], Sequence[float], Mapping[str, Any]]]
) -> None:
    """Residuals in percent of groups (x, residuals, look), with lines at 0 and one percent."""
    axes.axhline(0, color=style.LAW, linewidth=0.9, zorder=1)
    for side in (-GOAL_PERCENT, GOAL_PERCENT):
        axes.axhline(side, color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    reach = 1.35 * GOAL_PERCENT
    for x, residuals, look in shown:
        series.dots(axes, x, residuals, look)
        reach = max([reach, *(1.15 * abs(value) for value in residuals)])
    axes.set_ylim(-reach, reach)
    axes.set_yticks([-1, 0, 1] if reach < 2 else style.linear_ticks(-reach, reach, 5))
    axes.set_ylabel("residual (%)")
