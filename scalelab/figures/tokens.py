"""Held-out loss against training tokens at each size, with the law of both and its residuals."""

from typing import Any

from scalelab.figures import law_lines, numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study, predicted

HEADER = ("what", "run", "N", "D", "loss", "predicted", "residual_percent")
AHEAD = 3.0
"""The law is drawn up to this many times the most tokens of a size."""


@figure("Held-out loss against tokens at each size", needs="a law of N and D")
def draw(study: Study, width: str) -> Drawing:
    """One marker a run, one line a size, dashed beyond the data; residuals below."""
    fit = law_lines.fit_of(study, ("N", "D"))
    groups = law_lines.grouped(fit, ("N",))
    if max(len(points) for points in groups.values()) < 2:
        raise NotInStudy(f"runs.csv of {study.name}: no size with several D, so no loss against D")
    result = style.new_figure(width, 4.4 if width == "single" else 4.8)
    grid = {"height_ratios": (3, 1)}
    top, bottom = result.subplots(2, 1, sharex=True, gridspec_kw=grid)
    column = str(fit.get("y", "loss_nats"))
    looks = series.looks(len(groups))
    rows: list[tuple[Any, ...]] = []
    residuals, losses, xs = [], [], []
    handles, labels = [], []
    for ((n,), points), look in zip(groups.items(), looks, strict=True):
        tokens, found, off = [], [], []
        for point in points:
            for run in law_lines.observed(study, fit, point):
                loss, expected = run.number(column) or 0.0, predicted(point)
                tokens.append(float(point["D"]))
                found.append(loss)
                off.append(100 * (loss / expected - 1))
                rows.append(("run", run.id, n, tokens[-1], loss, expected, off[-1]))
        series.dots(top, tokens, found, look)
        residuals.append((tokens, off, look))
        ends = (min(tokens), max(tokens), AHEAD * max(tokens))
        for what, low, high, dashes in (
            ("law", ends[0], ends[1], "solid"),
            ("law beyond the data", ends[1], ends[2], series.AHEAD_DASHES),
        ):
            along = law_lines.spaced(low, high)
            shape: dict[str, Any] = {
                "color": look["color"],
                "linewidth": 1.0,
                "linestyle": dashes,
                "zorder": 2,
            }
            at = [(n, d) for d in along]
            values = law_lines.law_line(top, fit, along, at, **shape)
            rows += [(what, None, n, d, None, v, None) for d, v in zip(along, values, strict=True)]
            losses += values
        losses += found
        xs += [*tokens, ends[2]]
        handles.append(_handle(look))
        labels.append(f"$N$ = {numbers.short(n)}")
    handles.append(_handle({"color": "#555555", "marker": ""}, series.AHEAD_DASHES))
    labels.append("beyond the data")
    law_lines.residual_panel(bottom, residuals)
    series.log_axis(bottom, "x", *series.log_range(xs, 0.04), inches=2.7)
    top.set_yscale("log")
    top.set_ylim(*series.log_range(losses))
    top.tick_params(axis="x", labelbottom=False)
    top.set_ylabel(numbers.loss_label(fit))
    bottom.set_xlabel("training tokens $D$")
    law_lines.add_law_text(result, fit, 2 if width == "single" else 5)
    series.legend_below(result, handles, labels, 3 if width == "single" else 5)
    result.align_ylabels()
    style.settle(result)
    style.plain_log_axis(top)
    return Drawing(result, HEADER, rows)


def _handle(look: Any, dashes: Any = "solid") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **{**series.marker(look), "linestyle": dashes}, linewidth=1.0)
