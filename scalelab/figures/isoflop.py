"""IsoFLOP profiles and the optima through their minima (Hoffmann et al. 2022, section 3.2)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("what", "flops", "N", "D", "loss", "low", "high", "note")
NAMES = {"N": ("parameters", "a"), "D": ("tokens", "b")}
Rows = list[tuple[Any, ...]]


@figure("Loss of each compute budget against size, and its optimum", "double", needs="budgets")
def draw(study: Study, width: str) -> Drawing:
    """Left, one parabola a budget with its minimum; right, N_opt and D_opt against C."""
    answer, block = profiles_of(study)
    wide = width == "double"
    result = style.new_figure(width, 3.3 if wide else 5.6)
    layout = [["left", "N"], ["left", "D"]] if wide else [["left"], ["N"], ["D"]]
    ratios = {"width_ratios": (1.25, 1)} if wide else {"height_ratios": (1.7, 1, 1)}
    panels = result.subplot_mosaic(layout, gridspec_kw=ratios)  # type: ignore[arg-type]
    profiles = block["profiles"]
    looks = series.looks(len(profiles))
    level = numbers.percent(answer["level"])
    rows = _left(panels["left"], answer, profiles, looks)
    for name in NAMES:
        rows += _right(panels[name], block, name, profiles, looks)
    panels["N"].tick_params(axis="x", labelbottom=False)
    panels["D"].set_xlabel("compute budget $C$ (FLOPs)")
    handles, labels = _legend(profiles, looks, level, bool(block.get("path")))
    series.legend_below(result, handles, labels, 4 if wide else 2)
    result.align_ylabels([panels["N"], panels["D"]])
    style.settle(result)
    style.plain_log_axis(panels["left"])
    return Drawing(result, HEADER, rows)


def profiles_of(study: Study) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The frontier answer and its block of the IsoFLOP approach, which has profiles."""
    for answer in study.answered("frontier"):
        for block in answer["approaches"]:
            if block["approach"] == "isoflop" and block.get("profiles"):
                return answer, block
            if block["approach"] == "isoflop":
                reason = block["reason"]
    raise NotInStudy(f"laws.json of {study.name}: no IsoFLOP profiles: {reason}")


def _left(axes: "Axes", answer: Mapping[str, Any], profiles: Any, looks: Any) -> Rows:
    rows: Rows = []
    xs, ys = [], []
    for profile, look in zip(profiles, looks, strict=True):
        flops, sizes = profile["flops"], profile["sizes"]
        x, y = [item["N"] for item in sizes], [item["loss"] for item in sizes]
        series.dots(axes, x, y, look)
        rows += [
            ("size", flops, i["N"], i["D"], i["loss"], None, None, "" if i["used"] else "not used")
            for i in sizes
        ]
        xs += x
        ys += y
        if profile["refused"]:
            axes.plot(x, y, color=look["color"], linestyle=(0, (1, 2)), linewidth=0.7, zorder=1)
            rows.append(("no minimum", flops, None, None, None, None, None, profile["refused"]))
            continue
        axes.plot(*zip(*profile["curve"], strict=True), color=look["color"], linewidth=1, zorder=2)
        rows += [("parabola", flops, n, None, loss, None, None, "") for n, loss in profile["curve"]]
        place = (profile["N_opt"], profile["loss_opt"])
        ends = profile["N_opt_interval"]
        series.bar(axes, *place, ends, style.INK, across=True)
        axes.plot(*place, **MINIMUM, zorder=5)
        rows.append(("minimum", flops, place[0], profile["D_opt"], place[1], *ends, ""))
    series.log_axis(axes, "x", *series.log_range(xs), inches=3)
    axes.set_yscale("log")
    axes.set_ylim(*series.log_range(ys))
    axes.set_xlabel("non-embedding parameters $N$")
    axes.set_ylabel(numbers.loss_label({"y": answer["y"]}))
    return rows


MINIMUM: dict[str, Any] = {
    "linestyle": "none",
    "marker": "*",
    "markersize": 5.5,
    "markerfacecolor": "white",
    "markeredgecolor": style.INK,
    "markeredgewidth": 0.7,
}


def _right(axes: "Axes", block: Mapping[str, Any], name: str, profiles: Any, looks: Any) -> Rows:
    """The optimum of one of N and D against C, with the power law through the minima."""
    words, letter = NAMES[name]
    rows: Rows = []
    shown = [profile for profile in profiles if not profile["refused"]]
    values = [profile[f"{name}_opt"] for profile in shown]
    xs = [profile["flops"] for profile in profiles]
    for profile, look in zip(profiles, looks, strict=True):
        if profile["refused"]:
            continue
        value, ends = profile[f"{name}_opt"], profile["N_opt_interval"]
        if name == "D":  # 6 N D is given, so the ends of N turn round
            low, high = (None if e is None else value * profile["N_opt"] / e for e in ends[::-1])
            ends = [low, high]
        series.bar(axes, profile["flops"], value, ends, look["color"])
        series.dots(axes, [profile["flops"]], [value], look)
    if block.get("path"):
        steps = [(step["flops"], step[name]) for step in block["path"]]
        last = max(profile["flops"] for profile in shown)
        near = [step for step in steps if step[0] <= last * 4]
        series.path_line(axes, near, last)
        xs += [step[0] for step in near]
        values += [step[1][0] for step in near]
        rows += [(f"{name}_opt law", c, *_of(name, v[0]), None, v[1], v[2], "") for c, v in steps]
        law = block[f"{name}_opt"]
        text = series.exponent_text(letter, law)
        axes.set_title(
            rf"${name}_\mathrm{{opt}} \propto C^{{{letter}}}$, {text}",
            loc="left",
            pad=3,
            fontsize=style.small(),
        )
    else:
        axes.set_title(
            "fewer than two minima: no exponent", loc="left", pad=3, fontsize=style.small()
        )
    series.log_axis(axes, "x", *series.log_range(xs), inches=2.2)
    if values:
        series.log_axis(axes, "y", *series.log_range(values, 0.12), inches=0.9)
    else:
        axes.set_yticks([])
    axes.set_ylabel(rf"{words} ${name}_\mathrm{{opt}}$")
    return rows


def _of(name: str, value: float) -> tuple[float | None, float | None]:
    return (value, None) if name == "N" else (None, value)


def _legend(profiles: Any, looks: Any, level: str, line: bool) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], **{**series.marker(look), "linestyle": "solid"}, linewidth=1)
        for look in looks
    ]
    labels = [f"$C$ = {series.flops_text(profile['flops'])}" for profile in profiles]
    if not all(profile["refused"] for profile in profiles):
        handles.append(Line2D([], [], **MINIMUM))
        labels.append(f"minimum, {level} interval")
    if any(profile["refused"] for profile in profiles):
        handles.append(Line2D([], [], color=style.GUIDE, linestyle=(0, (1, 2)), linewidth=0.9))
        labels.append("no minimum inside")
    if line:
        handles.append(Line2D([], [], color=style.LAW, linewidth=1.1))
        labels.append(f"power law, {level} band")
        handles.append(
            Line2D([], [], color=style.AHEAD, linewidth=1.1, linestyle=series.AHEAD_DASHES)
        )
        labels.append("beyond the budgets")
    return handles, labels
