"""What a run costs against size: time, throughput, FLOPs, MFU, memory, checkpoint."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalelab.evaluation.columns import SETTING
from scalelab.figures import numbers, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Run, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = (
    *("what", "quantity", "run", "label", "N", "value", *SETTING, "status"),
    *("exponent", "standard_error"),
)
Setting = tuple[str, ...]


@dataclass(frozen=True)
class Quantity:
    """A cost: its column of runs.csv, and how it stands on an axis and in a sentence."""

    column: str
    words: str
    label: str
    unit: str
    scale: float = 1.0
    """What a value of the column is multiplied by to have the unit."""


SHARE = Quantity("mfu", "MFU", "MFU", "%", scale=100)
"""Model FLOPs utilisation, the one quantity on a linear axis: it has a top."""
BYTES = ("peak_memory_bytes", "checkpoint_bytes")
QUANTITIES = (
    Quantity("seconds", "training time", "training time", "s"),
    Quantity("tokens_per_second", "throughput", "throughput", "tokens/s"),
    Quantity("C", "training compute", "compute", "FLOPs"),
    SHARE,
    Quantity("peak_memory_bytes", "peak memory", "peak memory", "MB", scale=1e-6),
    Quantity("checkpoint_bytes", "the checkpoint", "checkpoint", "MB", scale=1e-6),
)
MARKS = (
    {"marker": "o", "color": style.INK},
    {"marker": "s", "color": style.AHEAD},
    {"marker": "^", "color": "#009E73"},
    {"marker": "D", "color": "#CC79A7"},
)
"""One a setting, the most common first; shape and colour both differ."""
PLAIN = 1e5
"""Up to here ticks are plain numbers, above it powers of ten."""
LEAST_SPAN = 2.0
"""An axis spans this factor at least, or the noise of a constant would fill it."""


@figure("What a run costs: time, throughput, FLOPs, MFU, memory and checkpoint", width="double")
def draw(study: Study, width: str) -> Drawing:
    """One panel a cost, one point a run, and the power of N that laws.json has for it."""
    down, across, height = (2, 3, 3.7) if width == "double" else (3, 2, 4.6)
    result = style.new_figure(width, height)
    panels = result.subplots(down, across, sharex=True).flatten()
    marks = dict(zip(settings(study), MARKS * len(study.runs), strict=False))
    for axes, quantity in zip(panels, QUANTITIES, strict=True):
        _panel(axes, study, in_unit(quantity, study), marks)
    sizes = [run.size for run in study.runs]
    margin = max((max(sizes) / min(sizes)) ** 0.07, 1.15)
    low, high = min(sizes) / margin, max(sizes) * margin
    panels[0].set_xlim(low, high)
    gap = 0.33 if width == "double" else 0.45
    style.power_log_axis(panels[0].xaxis, low, high, most=4, gap=gap)
    result.supxlabel("non-embedding parameters $N$", fontsize="medium")
    handles = _handles(study, marks)
    if handles:
        columns = len(handles) if width == "double" else 2
        result.legend(handles=handles, loc="outside upper center", ncols=columns)
    result.align_ylabels()
    style.settle(result)
    rows = [row for quantity in QUANTITIES for row in _rows(study, quantity)]
    return Drawing(result, HEADER, rows)


def settings(study: Study) -> list[Setting]:
    """The settings of the runs, the one of most good runs first."""
    tally = Counter({setting_of(run): 0 for run in study.runs})
    tally.update(setting_of(run) for run in study.runs if run.ok)
    return sorted(tally, key=lambda setting: (-tally[setting], setting))


def setting_of(run: Run) -> Setting:
    """Threads, precision, processes and device as they stand in runs.csv."""
    return tuple(run.columns.get(name, "") for name in SETTING)


def setting_text(setting: Setting, others: Iterable[Setting]) -> str:
    """A setting in words: its threads, and what else differs among `others`: `2 threads, bf16`."""
    different = [len(set(values)) > 1 for values in zip(*others, strict=True)]
    words = []
    for name, value, told in zip(SETTING, setting, different, strict=True):
        if told or name == "threads":
            counted = counted_text(name, value) if name in ("threads", "processes") else value
            words.append(counted if value else f"{name} unknown")
    return ", ".join(words)


def counted_text(name: str, value: object) -> str:
    """`1 thread`, `2 threads`."""
    one = {"threads": "thread", "processes": "process"}[name]
    return f"{value} {one if str(value) == '1' else name}"


def in_unit(quantity: Quantity, study: Study) -> Quantity:
    """Bytes in GB where the middle of the runs, on a logarithmic scale, is above 1 GB."""
    values = [value for run in study.runs if (value := run.number(quantity.column) or 0) > 0]
    if quantity.column in BYTES and values and math.sqrt(min(values) * max(values)) >= 1e9:
        return Quantity(quantity.column, quantity.words, quantity.label, "GB", scale=1e-9)
    return quantity


def growth_text(item: Mapping[str, Any]) -> tuple[str, str]:
    """An exponent and its standard error in the digits that the error warrants, three at most.

    A smaller error is shown as the last of these digits.
    """
    error = float(item["standard_error"])
    places = min(3, max(2, numbers.decimals(max(error, 1e-9), 0)))
    exponent = f"{item['exponent']:.{places}f}".replace("-", "\N{MINUS SIGN}")
    return exponent, f"{max(error, 10.0**-places):.{places}f}"


def _panel(axes: "Axes", study: Study, quantity: Quantity, marks: Mapping[Setting, Any]) -> None:
    axes.set_xscale("log")
    axes.set_ylabel(f"{quantity.label} ({quantity.unit})")
    shown = [
        (run, value * quantity.scale)
        for run in study.runs
        if (value := run.number(quantity.column)) is not None and value > 0
    ]
    item = study.growth.get(quantity.column)
    line = [_at(item, size) * quantity.scale for size in item["N"]] if item else []
    _scale(axes, quantity, [value for _, value in shown] + line)
    if not shown:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not recorded", color=style.SEED, transform=axes.transAxes, ha="center")
        return
    if item:
        _line(axes, quantity, item)
    if len(shown) <= style.CROWD:
        for run, value in shown:
            axes.plot(run.size, value, **_mark(run, marks), zorder=4)
    else:  # the marks of a kind as one line, which is many times as quick
        kinds: dict[Setting | None, list[tuple[Run, float]]] = {}
        for run, value in shown:
            kinds.setdefault(setting_of(run) if run.ok else None, []).append((run, value))
        for some in kinds.values():
            places = [run.size for run, _ in some], [value for _, value in some]
            axes.plot(*places, **_mark(some[0][0], marks), zorder=4)
    lost = [run.size for run in study.runs if not (run.ok or run.number(quantity.column))]
    if lost:  # failed before there was anything to measure: at the foot of the panel
        foot = [0.05] * len(lost)
        axes.plot(lost, foot, **FAILED, transform=axes.get_xaxis_transform(), clip_on=False)


def _scale(axes: "Axes", quantity: Quantity, values: Sequence[float]) -> None:
    if quantity.column == SHARE.column:
        # Above 100% the measured peak was too low: to be seen, not cut off.
        axes.set_ylim(0, max([100.0, *(1.05 * value for value in values)]))
        axes.set_yticks([0, 25, 50, 75, 100])
        return
    if not values:
        return
    axes.set_yscale("log")
    low, high = min(values), max(values)
    pad = max((high / low) ** 0.1, math.sqrt(max(1.0, LEAST_SPAN / (high / low))), 1.1)
    axes.set_ylim(low / pad, high * pad)
    if high > PLAIN:
        style.power_log_axis(axes.yaxis, *axes.get_ylim(), most=5)
    else:
        style.plain_log_axis(axes)


def _at(item: Mapping[str, Any], size: float) -> float:
    return float(item["coefficient"] * size ** item["exponent"])


def _line(axes: "Axes", quantity: Quantity, item: Mapping[str, Any]) -> None:
    first, last = item["N"]
    sizes = [first * (last / first) ** (step / 50) for step in range(51)]
    costs = [_at(item, size) * quantity.scale for size in sizes]
    axes.plot(sizes, costs, color=style.LAW, linewidth=0.9, zorder=2)
    exponent, error = growth_text(item)
    # Above the panel, where no point can lie under it; the legend says what a is.
    axes.set_title(
        f"$a$ = {exponent} ± {error}", loc="left", color=style.LAW, fontsize=style.small(), pad=3
    )


def _mark(run: Run, marks: Mapping[Setting, Any]) -> dict[str, Any]:
    if not run.ok:
        return FAILED
    return {
        **marks[setting_of(run)],
        "linestyle": "none",
        "markersize": 3.6,
        "markeredgecolor": "white",
        "markeredgewidth": 0.3,
    }


FAILED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "x",
    "markersize": 4.5,
    "markeredgewidth": 1.2,
    "color": style.FAILED,
}


def _handles(study: Study, marks: Mapping[Setting, Any]) -> list[Any]:
    """Legend entries, where there is something to tell apart."""
    from matplotlib.lines import Line2D

    handles = []
    if any(quantity.column in study.growth for quantity in QUANTITIES):
        label = r"$\propto N^a$, $a$ ± standard error"
        handles.append(Line2D([], [], color=style.LAW, linewidth=0.9, label=label))
    for setting in marks if len(marks) > 1 else ():
        run = next((r for r in study.runs if r.ok and setting_of(r) == setting), None)
        if run:
            label = setting_text(setting, marks)
            handles.append(Line2D([], [], **_mark(run, marks), label=label))
    if any(not run.ok for run in study.runs):
        handles.append(Line2D([], [], **FAILED, label="failed run"))
    return handles


def _rows(study: Study, quantity: Quantity) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for run in study.runs:
        value = run.number(quantity.column)
        if value is not None:
            what = "run" if run.ok else "failed"
            place = (run.id, run.label, int(run.size), value)
            rows.append((what, quantity.column, *place, *setting_of(run), run.status, None, None))
    item = study.growth.get(quantity.column)
    if item:
        setting = tuple(item["setting"].get(name) for name in SETTING)
        fitted = (item["exponent"], item["standard_error"])
        rows.append(("growth", quantity.column, None, None, None, None, *setting, None, *fitted))
    return rows
