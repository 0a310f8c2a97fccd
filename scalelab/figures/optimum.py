"""Basins of a swept setting at each size, and the optimum against size with its power rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.evaluation.columns import part_of
from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study, even

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("axis", "what", "N", "D", "x", "loss", "excess_percent", "low", "high", "note")
NAMES = {
    "lr": "learning rate",
    "batch_tokens": "batch (tokens)",
    "depth": "depth (layers)",
    "width": "width",
    "vocab": "vocabulary (tokens)",
    "context": "context (tokens)",
}
TOP = (2.5, 12.0)
"""The loss axis shows an excess of at least and at most this many percent."""
FEWEST = 3
STRIP = 0.075
"""Height of one size's line under the basins, as a share of the top of the axis."""
Rows = list[tuple[Any, ...]]


MOST = 40
"""Sizes that are drawn; tables/answers.csv has all of them."""


@figure("The best value of a setting at each size", "double", needs="an optimum")
def draw(study: Study, width: str) -> Drawing:
    """A pair of panels for each axis: basins left, optima right. Of more than MOST sizes, some."""
    from matplotlib.lines import Line2D

    whole = study.answered("optimum")
    answers = [{**answer, "sizes": even(answer["sizes"], MOST)} for answer in whole]
    wide = width == "double"
    down, across = (len(answers), 2) if wide else (2 * len(answers), 1)
    result = style.new_figure(width, (2.5 if wide else 4.6) * len(answers) + 0.35)
    ratios = {"width_ratios": (1.25, 1)} if wide else None
    panels = result.subplots(down, across, squeeze=False, gridspec_kw=ratios).reshape(-1, 2)
    rows: Rows = []
    sizes = sorted({(size["N"], size["D"]) for answer in answers for size in answer["sizes"]})
    groups = _names(sizes)
    looks = dict(zip(groups, series.looks(len(groups)), strict=True))
    used: dict[str, Any] = {}
    for (left, right), answer in zip(panels, answers, strict=True):
        mine = [looks[groups_of(groups, size)] for size in answer["sizes"]]
        rows += _basins(left, answer, mine) + _optima(right, answer, mine)
        for size, look in zip(answer["sizes"], mine, strict=True):
            used.setdefault(groups_of(groups, size), look)
    handles, labels = _legend(answers, used)
    most = max(len(answer["sizes"]) for answer in whole)
    if most > MOST:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(f"{MOST} of {most} sizes, evenly chosen")
    series.legend_below(result, handles, labels, 4 if wide else 2)
    result.align_ylabels(panels[:, 0])
    result.align_ylabels(panels[:, 1])
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _names(sizes: list[tuple[float, float]]) -> list[str]:
    """Legend names of the sizes, in order; D is told where one N has several."""
    names = [_name(*one, several=_several(one[0], sizes)) for one in sizes]
    return list(dict.fromkeys(names))


def _several(n: float, sizes: list[tuple[float, float]]) -> bool:
    return False if not sizes else sum(abs(other / n - 1) < 0.005 for other, _ in sizes) > 1


def _name(n: float, d: float, several: bool) -> str:
    text = f"$N$ = {numbers.short(n)}"
    return f"{text}, $D$ = {numbers.short(d)}" if several and d else text


def groups_of(groups: list[str], size: Mapping[str, Any]) -> str:
    """The legend name of one size of an answer."""
    plain = _name(size["N"], size["D"], several=False)
    return plain if plain in groups else _name(size["N"], size["D"], several=True)


def label(axis: str) -> str:
    """What an axis is called, with its unit."""
    return NAMES.get(axis, axis.replace("_", " "))


def named(answer: Mapping[str, Any]) -> str:
    """The axis as tables name it, with the runs that the answer is of: `vocab (mixture cpp)`."""
    part = part_of(answer)
    return f"{answer['axis']} ({part})" if part else str(answer["axis"])


def _basins(axes: "Axes", answer: Mapping[str, Any], looks: list[Any]) -> Rows:
    """Excess over the least loss of each size; below it the optimum of each with its interval."""
    name, rows = named(answer), []
    tops, xs = [], []
    for size, look in zip(answer["sizes"], looks, strict=True):
        least = size["least_loss"]
        place = (name, "point", size["N"], size["D"])
        points = [(p["x"], 100 * (p["loss"] / least - 1)) for p in size["points"]]
        curve = [(x, 100 * (loss / least - 1)) for x, loss in size["curve"]]
        axes.plot(*zip(*points, strict=True), **THIN, color=look["color"], zorder=2)
        if curve:
            axes.plot(*zip(*curve, strict=True), color=look["color"], linewidth=1.1, zorder=3)
        series.dots(axes, [x for x, _ in points], [excess for _, excess in points], look)
        xs += [x for x, _ in points] + size["failed_at"]
        tops += [excess for _, excess in points]
        rows += [
            (*place, p["x"], p["loss"], excess, None, None, _setting(p["at"]))
            for p, (_, excess) in zip(size["points"], points, strict=True)
        ]
        rows += [
            (
                name,
                "parabola",
                size["N"],
                size["D"],
                x,
                loss,
                100 * (loss / least - 1),
                None,
                None,
                "",
            )
            for x, loss in size["curve"]
        ]
    top = min(max(max(tops), TOP[0]), TOP[1])
    goal = 100 * answer["share"]
    axes.axhline(goal, color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    foot = -STRIP * top * (len(looks) + 0.6)
    axes.axhline(0, color=style.GUIDE, linewidth=0.5, zorder=1)
    for place_, (size, look) in enumerate(zip(answer["sizes"], looks, strict=True)):
        height = -STRIP * top * (place_ + 0.8)
        _strip(axes, size, look, height)
        failed = size["failed_at"]
        if failed:  # an empty line that is not clipped would upset the layout
            axes.plot(failed, [0.97] * len(failed), **FAILED, transform=axes.get_xaxis_transform())
        rows.append(_optimum_row(name, size))
        rows += [(name, "failed", size["N"], size["D"], x, *[None] * 4, "") for x in failed]
    series.log_axis(axes, "x", *series.log_range(xs), inches=3)
    axes.set_ylim(foot, 1.05 * top)
    axes.set_yticks([tick for tick in style.linear_ticks(0, top, 6) if tick >= 0])
    axes.set_xlabel(label(answer["axis"]))
    axes.set_title(part_of(answer), loc="left", pad=3, fontsize=style.small())
    axes.set_ylabel("loss above the least (%)")
    return rows


THIN: dict[str, Any] = {"linewidth": 0.6, "linestyle": (0, (1, 1.5))}
FAILED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "x",
    "markersize": 4,
    "markeredgewidth": 1.1,
    "color": style.FAILED,
    "clip_on": False,
}


def _strip(axes: "Axes", size: Mapping[str, Any], look: Mapping[str, Any], height: float) -> None:
    if size["optimum"] is None:
        axes.plot(size["best"], height, **_open(look, size["open"], across=True), zorder=4)
        return
    ends = size["interval"]
    series.bar(axes, size["optimum"], height, ends, look["color"], True, _reach(size))
    series.dots(axes, [size["optimum"]], [height], look)


def _reach(size: Mapping[str, Any]) -> tuple[float, float]:
    """First and last value tried."""
    values = [point["x"] for point in size["points"]]
    return min(values), max(values)


def _open(look: Mapping[str, Any], side: str, across: bool) -> dict[str, Any]:
    """An open marker that points to where the optimum must lie."""
    arrows = {"high": ">" if across else "^", "low": "<" if across else "v"}
    return {
        "linestyle": "none",
        "marker": arrows[side],
        "markersize": 5,
        "markerfacecolor": "white",
        "markeredgecolor": look["color"],
        "markeredgewidth": 1.1,
    }


def _optima(axes: "Axes", answer: Mapping[str, Any], looks: list[Any]) -> Rows:
    name, rows = named(answer), []
    of = answer["rule"]["of"] if answer["rule"] else "N"
    xs, ys = [], []
    for size, look in zip(answer["sizes"], looks, strict=True):
        value = size["optimum"] or size["best"]
        if size["optimum"] is None:
            axes.plot(size[of], value, **_open(look, size["open"], across=False), zorder=4)
        else:
            ends = size["interval"]
            series.bar(axes, size[of], value, ends, look["color"], reach=_reach(size))
            series.dots(axes, [size[of]], [value], look)
        xs.append(size[of])
        ys += [end for end in (value, *size["interval"]) if end is not None]
    if answer["rule"]:
        last = max(xs)
        steps = [(step[of], step["value"]) for step in answer["path"] if step[of] <= 4 * last]
        series.path_line(axes, steps, last)
        xs += [x for x, _ in steps]
        ys += [value[0] for _, value in steps]
        axes.set_title(_rule_text(answer), loc="left", pad=3, fontsize=style.small())
        rows += [
            (name, "rule", *((x, None) if of == "N" else (None, x)), v[0], None, None, *v[1:], "")
            for x, v in ((step[of], step["value"]) for step in answer["path"])
        ]
    else:
        axes.set_title(f"no rule: fewer than {FEWEST} sizes with an optimum", loc="left", pad=3)
    series.log_axis(axes, "x", *series.log_range(xs, 0.1), inches=2.2)
    series.log_axis(axes, "y", *series.log_range(ys, 0.15), inches=1.7)
    what = "non-embedding parameters $N$" if of == "N" else "training tokens $D$"
    axes.set_xlabel(what)
    axes.set_ylabel(f"best {label(answer['axis'])}")
    return rows


def _rule_text(answer: Mapping[str, Any]) -> str:
    rule, low_high = answer["rule"], answer["law"]["interval"]
    exponent = numbers.with_interval(rule["exponent"], *low_high)
    rounded = float(f"{rule['value']:.3g}")
    plain = series.PLAIN[0] <= rounded < series.PLAIN[1]
    value = f"{rounded:g}" if plain else style.power_text(rounded)
    return (
        f"{value} · (${rule['of']}$ / {style.power_text(rule['at'])})$^c$\n$c$ = {exponent}"
    ).replace("-", "\N{MINUS SIGN}")


def _optimum_row(name: str, size: Mapping[str, Any]) -> tuple[Any, ...]:
    note = f"open {size['open']}, add {size['add']:.4g}" if size["open"] else ""
    value = size["optimum"] or size["best"]
    loss = size["loss"] or size["best_loss"]
    excess = 100 * (loss / size["least_loss"] - 1)
    what = "optimum" if size["optimum"] else "best tried"
    return (name, what, size["N"], size["D"], value, loss, excess, *size["interval"], note)


def _setting(at: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in at.items())


def _legend(answers: list[Any], looks: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], **{**series.marker(look), "linestyle": "solid"}, linewidth=1.1)
        for look in looks.values()
    ]
    labels = [str(name) for name in looks]
    sizes = [size for answer in answers for size in answer["sizes"]]
    grey: dict[str, Any] = {"color": "#555555"}
    ends = [end for size in sizes if size["optimum"] for end in size["interval"]]
    if any(end is not None for end in ends):
        handles.append(Line2D([], [], **grey, linewidth=0.9, marker="|", markersize=5))
        labels.append(f"optimum, {numbers.percent(answers[0]['level'])} interval")
    if None in ends:
        handles.append(Line2D([], [], **grey, linewidth=0.9, linestyle=(0, (1, 1.2))))
        labels.append("end of the interval open")
    if any(size["optimum"] is None for size in sizes):
        handles.append(Line2D([], [], **_open(grey, "high", across=True)))
        labels.append("optimum open on that side")
    if any(size["failed_at"] for size in sizes):
        handles.append(Line2D([], [], **FAILED))
        labels.append("failed there")
    handles.append(Line2D([], [], color=style.GUIDE, linewidth=0.7, linestyle=(0, (2, 2))))
    labels.append(f"{answers[0]['share']:.0%} above the least")
    if any(answer["rule"] for answer in answers):
        handles.append(Line2D([], [], color=style.LAW, linewidth=1.1))
        labels.append("power rule")
        handles.append(
            Line2D([], [], color=style.AHEAD, linewidth=1.1, linestyle=series.AHEAD_DASHES)
        )
        labels.append("beyond the sizes")
    return handles, labels
