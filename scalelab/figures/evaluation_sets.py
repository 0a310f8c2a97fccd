"""Loss against size on each text that the runs were scored on: the split and every set."""

from collections.abc import Sequence
from typing import Any

from scalelab.evaluation.columns import measure_of, of_set, set_of
from scalelab.figures import law_lines, numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Run, Study

HEADER = ("what", "set", "run", "N", "loss")
MEASURES = ("loss_nats", "bits_per_byte")


@figure("Held-out loss against size on each evaluation set", needs="evaluation sets")
def draw(study: Study, width: str) -> Drawing:
    """One marker a run; a line through the mean of each size, or the law where one was fitted.

    Nats per token where all runs have one vocabulary, else bits per byte.
    """
    good = [run for run in study.runs if run.ok]
    names = sets_of(good)
    if not names:
        raise NotInStudy(f"runs.csv of {study.name}: no column of an evaluation set")
    measure = MEASURES[len({run.columns.get("vocab") for run in good}) > 1]
    split = next((run.columns.get("eval_split") for run in good), None) or "test"
    columns = {split: measure, **{name: of_set(name, measure) for name in names}}
    fits = {fit.get("y", "loss_nats"): fit for fit in study.one_dimensional if fit["x"] == "N"}
    result = style.new_figure(width, 3.2)
    axes = result.subplots()
    rows: list[tuple[Any, ...]] = []
    handles = []
    for (name, column), look in zip(columns.items(), series.looks(len(columns)), strict=True):
        known = [(run, run.size, run.number(column)) for run in good]
        points = [(run, size, loss) for run, size, loss in known if loss is not None]
        rows += [("run", name, run.id, size, loss) for run, size, loss in points]
        sizes = sorted({size for _, size, _ in points})
        series.dots(axes, [size for _, size, _ in points], [loss for *_, loss in points], look)
        shape: dict[str, Any] = {"color": look["color"], "linewidth": 1.0, "zorder": 2}
        if column in fits and len(sizes) > 1:
            along = law_lines.spaced(sizes[0], sizes[-1])
            line = law_lines.law_line(axes, fits[column], along, [(n,) for n in along], **shape)
            what = "law"
        else:
            along, what = sizes, "mean"
            line = [_mean([loss for _, n, loss in points if n == size]) for size in sizes]
            axes.plot(along, line, **shape)
        rows += [(what, name, None, n, loss) for n, loss in zip(along, line, strict=True)]
        (handle,) = axes.plot([], [], **{**series.marker(look), "linestyle": "-"}, linewidth=1.0)
        handles.append(handle)
    series.log_axis(axes, "x", *series.log_range([row[3] for row in rows]), inches=2.7)
    axes.set_yscale("log")
    axes.set_ylim(*series.log_range([row[4] for row in rows]))
    axes.set_xlabel(numbers.column_label(None))
    axes.set_ylabel(f"loss ({numbers.loss_unit(measure)})")
    series.legend_below(result, handles, list(columns), 3 if width == "single" else 5)
    style.settle(result)
    style.plain_log_axis(axes)
    return Drawing(result, HEADER, rows)


def sets_of(runs: Sequence[Run]) -> list[str]:
    """Names of the evaluation sets that a run has a loss on, in the order of the columns."""
    found: dict[str, None] = {}
    for run in runs:
        for column in run.columns:
            name = set_of(column)
            if name and measure_of(column) in MEASURES and run.number(column) is not None:
                found.setdefault(name)
    return list(found)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
