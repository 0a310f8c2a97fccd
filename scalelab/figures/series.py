"""Groups of runs in one panel: a look for each, logarithmic axes, intervals, law lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import numbers, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
AHEAD_DASHES: Any = (0, (4, 2))
PLAIN = (1e-2, 1e4)
"""Between these, labels of a logarithmic axis are plain numbers."""
LEAST_FACTOR = 1.3
"""An axis spans this factor at least."""


def looks(count: int) -> list[dict[str, Any]]:
    """Colour and marker for each of `count` ordered groups: dark to light, which greys keep."""
    colours = style.size_colours()
    shades = [colours(place / max(count - 1, 1)) for place in range(count)]
    return [
        {"color": shade, "marker": MARKERS[place % len(MARKERS)]}
        for place, shade in enumerate(shades)
    ]


def dots(axes: "Axes", x: Sequence[float], y: Sequence[float], look: Mapping[str, Any]) -> Any:
    """Markers without a line; gives back the handle."""
    (handle,) = axes.plot(x, y, **marker(look), zorder=4)
    return handle


def marker(look: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a marker with a thin white edge, so that neighbours stay apart."""
    return {
        "linestyle": "none",
        "marker": look["marker"],
        "color": look["color"],
        "markersize": 3.9,
        "markeredgecolor": "white",
        "markeredgewidth": 0.35,
    }


def log_range(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Ends of a logarithmic axis around values, a share of its length added on either side."""
    known = [value for value in values if value > 0]
    low, high = (min(known), max(known)) if known else (1.0, 10.0)
    if high / low < LEAST_FACTOR:
        stretch = (LEAST_FACTOR * low / high) ** 0.5
        low, high = low / stretch, high * stretch
    pad = (high / low) ** margin
    return low / pad, high * pad


def log_axis(axes: "Axes", which: str, low: float, high: float, inches: float) -> None:
    """A logarithmic axis between two ends, its labels as plain numbers or powers of ten.

    inches: about how long the axis is, for how many labels it has room.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    if PLAIN[0] <= low and high <= PLAIN[1]:
        style.plain_ticks(axis, low, high, (0.34 if which == "x" else 0.17) / inches)
    else:
        gap = (0.5 if which == "x" else 0.2) / inches
        most = int(inches / (0.42 if which == "x" else 0.25))
        style.power_log_axis(axis, low, high, most=max(most, 2), gap=gap)


def bar(
    axes: "Axes",
    x: float,
    y: float,
    ends: Sequence[float | None],
    color: Any,
    across: bool = False,
    reach: Sequence[float] | None = None,
) -> None:
    """The interval of a value: vertical at x, or `across` at y.

    An end that is open is a dotted line to that end of `reach`, the values tried.
    """
    middle = x if across else y
    cap = "|" if across else "_"
    for place, end in enumerate(ends):
        stop = end if end is not None else reach[place] if reach is not None else None
        if stop is None:
            continue
        line = ([middle, stop], [y, y]) if across else ([x, x], [middle, stop])
        dots_or_line = "solid" if end is not None else (0, (1, 1.2))
        axes.plot(*line, color=color, linewidth=0.9, linestyle=dots_or_line, zorder=3)
        if end is not None:
            axes.plot(
                *(part[1:] for part in line), marker=cap, color=color, markersize=4.5, zorder=3
            )


def path_line(axes: "Axes", steps: Sequence[tuple[float, Sequence[Any]]], last: float) -> list[Any]:
    """A regression with its band: (x, [value, low, high]) up to `last` solid, beyond it dashed.

    Gives back the handles: that within the data, and that beyond where there is one.
    """
    handles: list[Any] = []
    for ahead in (False, True):
        part = [
            step
            for step in steps
            if (step[0] >= last * 0.999 if ahead else step[0] <= last * 1.001)
        ]
        if len(part) < 2:
            continue
        colour = style.AHEAD if ahead else style.LAW
        x = [step[0] for step in part]
        ends = [
            [float("nan") if step[1][k] is None else step[1][k] for step in part] for k in (1, 2)
        ]
        area = axes.fill_between(
            x, ends[0], ends[1], color=colour, alpha=0.18, linewidth=0, zorder=1
        )
        (line,) = axes.plot(
            x,
            [step[1][0] for step in part],
            color=colour,
            linestyle=AHEAD_DASHES if ahead else "solid",
            linewidth=1.1,
            zorder=2,
        )
        handles.append((area, line))
    return handles


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """A legend under the panels, where it can cover nothing."""
    from matplotlib.legend_handler import HandlerTuple

    figure.legend(
        handles=list(handles),
        labels=list(labels),
        loc="outside lower center",
        ncols=columns,
        handler_map={tuple: HandlerTuple(ndivide=1, pad=0)},
        columnspacing=1.2,
    )


def exponent_text(name: str, block: Mapping[str, Any]) -> str:
    """`a = 0.51 [0.48, 0.54]` with real minus signs."""
    low, high = block["interval"]
    text = numbers.with_interval(float(block["exponent"]), low, high)
    return f"${name}$ = {text}".replace("-", "\N{MINUS SIGN}")


def flops_text(value: float) -> str:
    """A budget in two digits: `2.2×10¹²`."""
    return style.power_text(float(f"{value:.1e}"))
