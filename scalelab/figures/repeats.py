"""Loss against epochs over a text of fixed length, beside what as many new tokens would give."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import law_lines, numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study, predicted

HEADER = ("what", "run", "N", "D", "U", "epochs", "loss", "predicted")
LAW = "data_constrained"
AHEAD = 4.0
SAME = 0.02
FRESH: Any = (0, (1.2, 1))


@figure("Loss against epochs for each number of unique tokens", "double", needs="repeated data")
def draw(study: Study, width: str) -> Drawing:
    """One panel a size; solid the law with repeats, dotted the same law on new tokens."""
    fit = law_lines.fit_of(study, ("N", "D", "U"), LAW)
    groups = _by_size_and_text(fit)
    if not any(point["D"] > 1.5 * point["U"] for point in fit["points"]):
        raise NotInStudy(f"runs.csv of {study.name}: no run reads its text twice, so no repeats")
    sizes = sorted({n for n, _ in groups})
    uniques = sorted({u for _, u in groups})
    looks = dict(zip(uniques, series.looks(len(uniques)), strict=True))
    across = min(len(sizes), 3 if width == "double" else 1)
    down = -(-len(sizes) // across)
    result = style.new_figure(width, 2.3 * down + 1.3)
    panels = result.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
    rows: list[tuple[Any, ...]] = []
    losses: list[float] = []
    xs: list[float] = []
    for axes, n in zip(panels, sizes, strict=False):
        axes.set_title(f"$N$ = {numbers.short(n)}", loc="left", pad=3)
        for (size, unique), points in groups.items():
            if size == n:
                rows += _lines(axes, study, fit, (n, unique), points, looks[unique])
    for spare in panels[len(sizes) :]:
        spare.remove()
    xs = [row[5] for row in rows]
    losses = [value for row in rows for value in row[6:8] if value is not None]
    for place, axes in enumerate(panels[: len(sizes)]):
        series.log_axis(axes, "x", *series.log_range(xs, 0.04), inches=1.7)
        axes.set_yscale("log")
        axes.set_ylim(*series.log_range(losses))
        if place % across == 0:
            axes.set_ylabel(numbers.loss_label(fit))
        if place + across >= len(sizes):
            axes.set_xlabel("epochs $D/U$")
    law_lines.add_law_text(result, fit, 4 if width == "double" else 2)
    handles, labels = _legend(looks)
    series.legend_below(result, handles, labels, 4 if width == "double" else 2)
    style.settle(result)
    for axes in panels[: len(sizes)]:
        style.plain_log_axis(axes)
    return Drawing(result, HEADER, rows)


def _by_size_and_text(fit: Mapping[str, Any]) -> law_lines.Groups:
    """Points by N and U. A run that sees its text once has whole steps of it, a little less than
    the U of those that repeat it; it stands with them, under their U."""
    groups: law_lines.Groups = {}
    for (n, unique), points in reversed(law_lines.grouped(fit, ("N", "U")).items()):
        near = [u for m, u in groups if m == n and 1 <= u / unique <= 1 + SAME]
        key = (n, near[0] if near else unique)
        groups[key] = points + groups.get(key, [])
    return dict(sorted(groups.items()))


def _lines(
    axes: Any,
    study: Study,
    fit: Mapping[str, Any],
    group: tuple[float, float],
    points: list[Mapping[str, Any]],
    look: Mapping[str, Any],
) -> list[tuple[Any, ...]]:
    """The runs of one N and U, the law, and the law where each token is new (U = D)."""
    n, unique = group
    column = str(fit.get("y", "loss_nats"))
    rows: list[tuple[Any, ...]] = []
    for point in points:
        for run in law_lines.observed(study, fit, point):
            tokens = float(point["D"])
            place = (n, tokens, unique, tokens / unique, run.number(column))
            rows.append(("run", run.id, *place, predicted(point)))
    series.dots(axes, [row[5] for row in rows], [row[6] for row in rows], look)
    first, last = min(row[5] for row in rows), max(row[5] for row in rows)
    for what, low, high, dashes, fresh in (
        ("law", first, last, "solid", False),
        ("law beyond the data", last, AHEAD * last, series.AHEAD_DASHES, False),
        ("new tokens", first, last, FRESH, True),
    ):
        if high <= low:
            continue
        epochs = law_lines.spaced(low, high)
        at = [(n, e * unique, e * unique if fresh else unique) for e in epochs]
        shape: dict[str, Any] = {
            "color": look["color"],
            "linewidth": 1.0,
            "linestyle": dashes,
            "zorder": 2,
        }
        values = law_lines.law_line(axes, fit, epochs, at, **shape)
        rows += [
            (what, None, n, d, u, e, None, v)
            for (_, d, u), e, v in zip(at, epochs, values, strict=True)
        ]
    return rows


def _legend(looks: Mapping[float, Any]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], **{**series.marker(look), "linestyle": "solid"}, linewidth=1)
        for look in looks.values()
    ]
    labels = [f"$U$ = {numbers.short(unique)}" for unique in looks]
    grey: dict[str, Any] = {"color": "#555555", "linewidth": 1}
    entries: tuple[tuple[Any, str], ...] = (
        ("solid", "law, repeated tokens"),
        (FRESH, "law, as many new tokens"),
        (series.AHEAD_DASHES, "beyond the data"),
    )
    for dashes, text in entries:
        handles.append(Line2D([], [], **grey, linestyle=dashes))
        labels.append(text)
    return handles, labels
