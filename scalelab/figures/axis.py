"""What a crossed setting does to the loss, size by size: one panel an axis of the study."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.evaluation.columns import SPENT, is_measured, measure_of
from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Run, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("axis", "value", "N", "D", "others", "run", "loss_nats", "difference_percent")
MEASURED = (
    *("id", "label", "status", "reason", "seed", "checkpoint", "trunk", "trunk_steps", "resumed"),
    *("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte", "train_loss_nats"),
    *("tokens_per_second", "seconds", "flops_per_second", "mfu", "peak_memory_bytes"),
    *("checkpoint_bytes", "N", "N_total", "N_embedding", "D", "C", "C_6ND", "tokens_per_param"),
    *("N_active",),
    *("steps", "threads", "processes", "device", "unique_tokens", "budget"),
    *(f"privacy_{name}" for name in SPENT),
    *("corpus", "eval_split", "eval_context", "eval_stride", "eval_bos"),
    *("eval_tokens", "eval_bytes", "eval_text_sha256", "tokens", "bytes", "text_sha256"),
)
"""Columns that are no setting of a run, or that follow from its size and tokens."""
MOST = 4
"""Panels at most."""
LEGEND_COLUMNS = 3
Settings = tuple[tuple[str, str], ...]


@figure(
    "What each crossed setting does to the loss, size by size", "single", "settings crossed by axes"
)
def draw(study: Study, width: str) -> Drawing:
    """Loss over that of the best value at the largest size, in percent, against N.

    Runs compare that are alike in N, D and all other settings; seeds are one mark, with a bar from
    the least to the most of them.
    """
    good = [run for run in study.runs if run.ok]
    axes_of = crossed(good)[:MOST]
    if not axes_of:
        raise NotInStudy(f"runs.csv of {study.name}: no setting is crossed with the sizes")
    wide = width == "double"
    columns = 2 if wide and len(axes_of) > 1 else 1
    lines = -(-len(axes_of) // columns)
    result = style.new_figure(width, 0.6 + 2.3 * lines)
    panels = result.subplots(lines, columns, squeeze=False)
    rows: list[tuple[Any, ...]] = []
    for name, axes in itertools.zip_longest(axes_of, panels.flat):
        if name is None:
            axes.set_visible(False)
        else:
            rows += _panel(axes, name, axes_of, good)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def crossed(runs: Sequence[Run]) -> list[str]:
    """Columns in which runs differ that are alike in N, D and every other such column."""
    columns = runs[0].columns if runs else ()
    settings = [name for name in columns if not is_measured(name)]
    names = [name for name in settings if measure_of(name) not in MEASURED]
    varied = [name for name in names if len({run.columns.get(name) for run in runs}) > 1]
    found = []
    for name in varied:
        groups: dict[Any, set[str]] = {}
        rest = [other for other in varied if other != name]
        for run in runs:
            groups.setdefault(_place(run, rest), set()).add(run.columns.get(name, ""))
        if any(len(values) > 1 for values in groups.values()):
            found.append(name)
    return found


def _place(run: Run, others: Sequence[str]) -> tuple[Any, ...]:
    return (run.size, run.number("D"), *(run.columns.get(name, "") for name in others))


def _panel(
    axes: "Axes", name: str, others: Sequence[str], runs: Sequence[Run]
) -> list[tuple[Any, ...]]:
    rest = [other for other in others if other != name]
    places: dict[Any, dict[str, list[Run]]] = {}
    for run in runs:
        place = places.setdefault(_place(run, rest), {})
        place.setdefault(run.columns.get(name, ""), []).append(run)
    places = {key: found for key, found in sorted(places.items()) if len(found) > 1}
    values = _ordered({value for one in places.values() for value in one})
    reference = _best_at_the_largest(places)
    looks = dict(zip(values, series.looks(len(values)), strict=True))
    rows: list[tuple[Any, ...]] = []
    # A line joins sizes; several D at one size, as in a grid, make a line each.
    several = len(places) > len({(place[0], *place[2:]) for place in places})
    lines: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for at, found in places.items():
        if reference not in found:
            continue
        level = _mean(found[reference])
        for value, members in found.items():
            off = [100 * ((run.number("loss_nats") or 0.0) / level - 1) for run in members]
            middle = sum(off) / len(off)
            key = (value, *at[1 if several else 2 :])
            lines.setdefault(key, []).append((at[0], middle))
            if len(off) > 1:
                series.bar(axes, at[0], middle, (min(off), max(off)), looks[value]["color"])
            told = "; ".join(f"{k}={v}" for k, v in zip(rest, at[2:], strict=True))
            rows += [
                (name, value, at[0], at[1], told, run.id, run.number("loss_nats"), one)
                for run, one in zip(members, off, strict=True)
            ]
    handles: dict[str, Any] = {}
    for (value, *_), line in lines.items():
        shape = {**series.marker(looks[value]), "linestyle": "-", "linewidth": 0.9}
        (handles[value],) = axes.plot(*zip(*line, strict=True), **shape, zorder=3)
    axes.axhline(0, color=style.GUIDE, linewidth=0.7, zorder=1)
    xs = [row[2] for row in rows]
    series.log_axis(axes, "x", *series.log_range(xs), inches=2.4)
    axes.set_xlabel(numbers.column_label(None))
    axes.set_ylabel(f"loss over that of {_told(reference)} (%)")
    low, high = axes.get_ylim()
    # Room above the lines for the legend.
    columns = min(len(handles), LEGEND_COLUMNS)
    # Room above the lines for the legend.
    top = high + (0.18 + 0.11 * -(-len(handles) // columns)) * (high - low)
    axes.set_ylim(low, top)
    axes.set_yticks(style.linear_ticks(low, top, 7))
    axes.legend(
        [handles[value] for value in values if value in handles],
        [_told(value) for value in values if value in handles],
        title=name.replace("_", " "),
        title_fontsize=style.small(),
        loc="upper center",
        ncols=columns,
        columnspacing=1.0,
    )
    return rows


def _best_at_the_largest(places: Mapping[Any, Mapping[str, list[Run]]]) -> str:
    """The value with the least loss at the largest N (of these at the most tokens)."""
    best = places[max(places, key=lambda place: (place[0], place[1] or 0.0))]
    return min(best, key=lambda value: _mean(best[value]))


def _mean(runs: Sequence[Run]) -> float:
    return sum(run.number("loss_nats") or 0.0 for run in runs) / len(runs)


def _ordered(values: set[str]) -> list[str]:
    """Numbers by size, words by the alphabet."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _told(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.replace("$", r"\$") or "none"
