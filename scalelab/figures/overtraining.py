"""Loss against compute at fixed tokens per parameter: parallel lines (Gadre et al. 2024).

With one exponent for N and D, L = E + (a M^eta + b M^-eta) C^-eta for M = D / N tokens per
parameter and C = 6 N D (arXiv:2403.08540, equation 4): the reducible loss L - E falls with C by the
same exponent at every M, so its lines are parallel on logarithmic axes.
"""

from collections.abc import Mapping
from typing import Any

from scalelab.errors import UserError
from scalelab.figures import law_lines, numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study, predicted

HEADER = (
    "what",
    "run",
    "tokens_per_param",
    "N",
    "D",
    "flops_6nd",
    "loss",
    "reducible",
    "predicted",
)
SAME = 0.15
"""Ratios within this much of each other are one group: tokens are whole batches."""
AHEAD = 4.0


@figure("Loss against compute at each ratio of tokens to parameters", "double", "a law of N and D")
def draw(study: Study, width: str) -> Drawing:
    """Left the loss, right what the law's floor leaves of it; one line a ratio."""
    fit = law_lines.fit_of(study, ("N", "D"), "chinchilla")
    groups = ratio_groups(fit)
    if len(groups) < 2 or max(len(points) for points in groups.values()) < 2:
        raise NotInStudy(
            f"runs.csv of {study.name}: no two sizes at equal tokens per parameter at several "
            "ratios, so no lines to compare"
        )
    wide = width == "double"
    result = style.new_figure(width, 3.5 if wide else 5.6)
    panels = result.subplots(*((1, 2) if wide else (2, 1)))
    floor = float(fit["params"]["E"])
    rows: list[tuple[Any, ...]] = []
    xs: list[float] = []
    seen: dict[float, list[float]] = {0.0: [], floor: []}
    looks = series.looks(len(groups))
    for (ratio, points), look in zip(groups.items(), looks, strict=True):
        runs = _runs(study, fit, points, floor)
        rows += [("run", run, ratio, *rest) for run, *rest in runs]
        flops = [row[3] for row in runs]
        ends = (min(flops), max(flops), AHEAD * max(flops))
        xs += [*flops, ends[2]]
        for axes, less in zip(panels, (0.0, floor), strict=True):
            shown = [(row[3], row[4] - less) for row in runs if row[4] > less]
            series.dots(axes, [c for c, _ in shown], [loss for _, loss in shown], look)
            seen[less] += [loss for _, loss in shown]
            for low, high, dashes in ((*ends[:2], "solid"), (*ends[1:], series.AHEAD_DASHES)):
                along = law_lines.spaced(low, high)
                at = [((c / 6 / ratio) ** 0.5, (c / 6 * ratio) ** 0.5) for c in along]
                shape: dict[str, Any] = {
                    "color": look["color"],
                    "linewidth": 1.0,
                    "linestyle": dashes,
                }
                values = law_lines.law_line(axes, fit, along, at, less, zorder=2, **shape)
                seen[less] += [value - less for value in values]
                if less == 0.0:
                    rows += [
                        ("law", None, ratio, n, d, c, None, v - floor, v)
                        for (n, d), c, v in zip(at, along, values, strict=True)
                    ]
    names = (numbers.loss_label(fit), _reducible_label(fit))
    for axes, name, less in zip(panels, names, (0.0, floor), strict=True):
        series.log_axis(axes, "x", *series.log_range(xs, 0.04), inches=2.7)
        axes.set_yscale("log")
        axes.set_ylim(*series.log_range(seen[less]))
        axes.set_xlabel("training compute $6ND$ (FLOPs)")
        axes.set_ylabel(name)
    law_lines.add_law_text(result, fit, 5 if wide else 2)
    handles, labels = _legend(groups, looks)
    series.legend_below(result, handles, labels, len(handles) if wide and len(handles) < 7 else 3)
    style.settle(result)
    for axes in panels:
        style.plain_log_axis(axes)
    return Drawing(result, HEADER, rows)


def ratio_groups(fit: Mapping[str, Any]) -> dict[float, list[Mapping[str, Any]]]:
    """Points of a fit by tokens per parameter, each group under its geometric mean."""
    found: list[list[Mapping[str, Any]]] = []
    for point in sorted(fit["points"], key=lambda item: item["D"] / item["N"]):
        first = found[-1][0]["D"] / found[-1][0]["N"] if found else None
        if first is not None and point["D"] / point["N"] <= first * (1 + SAME):
            found[-1].append(point)
        else:
            found.append([point])
    groups = {}
    for points in found:
        product = 1.0
        for point in points:
            product *= (point["D"] / point["N"]) ** (1 / len(points))
        groups[product] = points
    return groups


def _runs(study: Study, fit: Mapping[str, Any], points: Any, floor: float) -> list[tuple[Any, ...]]:
    """(run, N, D, 6 N D, loss, loss less the floor, predicted) of each run of a group."""
    column = str(fit.get("y", "loss_nats"))
    rows = []
    for point in points:
        n, d = float(point["N"]), float(point["D"])
        for run in law_lines.observed(study, fit, point):
            loss = run.number(column)
            if loss is None:
                raise UserError(f"runs.csv: run {run.label} has no {column}")
            rows.append((run.id, n, d, 6 * n * d, loss, loss - floor, predicted(point)))
    return rows


def _reducible_label(fit: Mapping[str, Any]) -> str:
    unit = numbers.loss_unit(str(fit.get("y", "loss_nats")))
    return f"reducible loss $L - E$ ({unit})"


def _legend(groups: Any, looks: Any) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], **{**series.marker(look), "linestyle": "solid"}, linewidth=1)
        for look in looks
    ]
    labels = [f"$D/N$ = {float(f'{ratio:.3g}'):g}" for ratio in groups]
    handles.append(Line2D([], [], color="#555555", linewidth=1, linestyle=series.AHEAD_DASHES))
    return handles, [*labels, "beyond the data"]
