"""The look of every figure, in one place: colours, lines, axes, and how files are written; widths
and type are those of the venue (`venues`).

Figures are built without pyplot, so no display and no global state is involved, and the same input
gives the same bytes: no dates, fixed SVG ids, the user's own matplotlib settings left out.
"""

import contextlib
import csv
import io
import itertools
import math
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.figures import venues
from scalelab.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

PNG_DPI = 300

# Okabe and Ito (2008), a palette that all common kinds of colour blindness can tell apart.
INK = "#1a1a1a"
LAW = "#0072B2"
AHEAD = "#D55E00"
FAILED = "#CC3311"
SEED = "#8a8a8a"
GUIDE = "#9a9a9a"

SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so every machine has it
    "mathtext.fontset": "dejavusans",
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.6,
    "legend.labelspacing": 0.35,
    "legend.borderaxespad": 0.6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # TrueType; publishers refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "scalelab",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextlib.contextmanager
def context(name: str = "paper") -> Iterator[None]:
    """matplotlib's own defaults plus the settings above and those of a venue, for a block.

    Raises UserError for an unknown venue.
    """
    import matplotlib

    venue = venues.get(name)
    sizes: Any = {
        **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), venue.points),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), venue.small),
    }
    with matplotlib.rc_context(), venues.drawn_for(venue):
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS | sizes | dict(venue.settings))
        yield


def small() -> float:
    """Points of notes, as of ticks and legends."""
    return venues.current().small


def new_figure(width: str, height: float) -> "Figure":
    """An empty figure of a column's width and a height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # 72 dots an inch is what PDF and SVG use, so their text is measured once and not again.
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.04)
    figure = Figure(figsize=(venues.current().width(width), height), dpi=72, layout=layout)
    FigureCanvasAgg(figure)
    return figure


CROWD = 500
"""Lines, or marks of one line, above which a vector file would be larger than a picture."""


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure atomically in the format of the path's suffix, without dates."""
    kind = path.suffix[1:]
    metadata: Any = {
        "pdf": {"CreationDate": None, "Creator": "scalelab", "Producer": None},
        "svg": {"Date": None, "Creator": "scalelab"},
        "png": {"Software": None},
    }[kind]
    _crowds_as_pixels(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=PNG_DPI, metadata=metadata)
    return path


def _crowds_as_pixels(figure: "Figure") -> None:
    """Lines and marks of a panel with more than CROWD of them are pixels, in vector files too."""
    import numpy as np

    for axes in figure.axes:
        marks = [np.size(line.get_xdata()) for line in axes.lines]
        if max([len(marks), *marks]) > CROWD:
            for line in axes.lines:
                line.set_rasterized(True)


def save_all(figure: "Figure", folder: Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Write `<name>.<format>` in several formats, side by side where a fork is safe."""
    paths = [folder / f"{name}.{end}" for end in formats]
    beside: dict[Path, Any] = {}
    if sys.platform == "linux" and threading.active_count() == 1:
        fork = multiprocessing.get_context("fork").Process
        beside = {path: fork(target=_save_or_exit, args=(figure, path)) for path in paths[:-1]}
    for process in beside.values():
        process.start()
    for path in reversed(paths):
        # What failed beside is done again here, where its error is told as any other.
        if path not in beside or _failed(beside[path]):
            save(figure, path)
    return paths


def _failed(process: Any) -> bool:
    process.join()
    return bool(process.exitcode)


def _save_or_exit(figure: "Figure", path: Path) -> None:
    try:
        save(figure, path)
    except Exception:
        sys.exit(1)


def settle(figure: Any, keep: bool = False) -> None:
    """Lay the figure out once and keep that layout, so that saving does not measure it again.

    The engine is taken away: in place of one named "none" saving draws everything once in vain.
    keep: it stays, for what is laid out anew after this.
    """
    figure.get_layout_engine().execute(figure)
    if not keep:
        figure.set_layout_engine(None)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write CSV atomically; numbers at full precision, None as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path


def size_colours() -> "Colormap":
    """Colours for a size: viridis without its yellow end, which is too pale on white paper."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    shades = matplotlib.colormaps["viridis"]([index / 255 * 0.86 for index in range(256)])
    return ListedColormap(shades, name="sizes")


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two bounds (step 1, 2, 2.5 or 5 times a power of ten)."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50):
        first, last = math.ceil(low / (step * factor)), math.floor(high / (step * factor))
        if last - first + 1 <= most:
            break
    return [round(index * step * factor, 12) for index in range(first, last + 1)]


def spread_ticks(low: float, high: float, gap: float, most: int = 6) -> list[float]:
    """Round numbers for a logarithmic axis, at least `gap` of the axis length apart.

    Below a factor of four the numbers are evenly stepped (2.5, 3, 3.5), above it they are 1, 2 and
    5 times powers of ten, with the numbers between them where there is room.
    """
    span = math.log(high / low)
    candidates: list[float] = []
    if high / low < 4:
        for count in range(most, 1, -1):
            candidates = linear_ticks(low, high, count)
            if all(math.log(b / a) / span >= gap for a, b in itertools.pairwise(candidates)):
                return candidates
    candidates = []
    # Preferred digits come first; a number is kept where it has room among those already kept.
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (2, 5), (3,), (4,), (7,), (6, 8, 9)):
        for decade in decades:
            for digit in digits:
                tick = round(digit * 10.0**decade, 12)
                near = (abs(math.log(tick / other)) / span < gap for other in candidates)
                if low <= tick <= high and not any(near):
                    candidates.append(tick)
    return sorted(candidates)


def plain_log_axis(axes: "Axes") -> None:
    """Ticks of the logarithmic y axis as plain numbers (2.5, 3, 4), unlabelled ones between."""
    inches = axes.get_window_extent().height / axes.figure.dpi  # type: ignore[union-attr]
    plain_ticks(axes.yaxis, *axes.get_ylim(), gap=0.15 / inches)


def plain_ticks(axis: Any, low: float, high: float, gap: float) -> None:
    """Plain numbers at least `gap` of the axis apart, and finer ticks without labels between."""
    _set_ticks(axis, low, high, spread_ticks(low, high, gap), lambda value, _: f"{value:g}")


def _set_ticks(
    axis: Any, low: float, high: float, major: list[float], label: Callable[[float, int], str]
) -> None:
    """Labelled ticks and unlabelled ones between: evenly stepped below a factor of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

    step = min((b - a for a, b in itertools.pairwise(major)), default=high - low)
    fine = 10 ** math.floor(math.log10(step)) if step > 0 else 1
    fine = fine / 2 if step < 1.5 * fine else fine
    first, last = math.ceil(low / fine), math.floor(high / fine)
    even = high / low < 10 and last - first < 100
    minor = [index * fine for index in range(first, last + 1)] if even else []
    digits = LogLocator(subs=tuple(range(1, 10)), numticks=200)
    axis.set_major_locator(FixedLocator(major))
    axis.set_minor_locator(FixedLocator(minor) if even else digits)
    axis.set_major_formatter(FuncFormatter(label))
    axis.set_minor_formatter(NullFormatter())
    # Empty labels are still measured at each layout, which took most of the time of a figure.
    axis.set_tick_params(which="minor", labelleft=False, labelbottom=False, labelright=False)


def power_log_axis(axis: Any, low: float, high: float, most: int = 7, gap: float = 0.22) -> None:
    """Ticks of a logarithmic axis over decades: powers of ten, or 2×10⁵ on a short range.

    `most`: labels over many decades. `gap`: share of the axis between two labels of a short range.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        stride = math.ceil((last - first + 1) / most)
        major = [10.0**decade for decade in range(first, last + 1, stride)]
    else:
        major = spread_ticks(low, high, gap, 4)
    _set_ticks(axis, low, high, major, lambda value, _: power_text(value))


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_text(value: float) -> str:
    """A number as a power of ten: 200000 is `2×10⁵`.

    Superscripts of the font where it has them instead of mathematics, which took a third of the
    time of a figure.
    """
    mantissa, exponent = f"{value:.6e}".split("e")
    digits = f"{float(mantissa):g}"
    plain = venues.current().superscripts
    raised = str(int(exponent)).translate(SUPERSCRIPTS) if plain else f"$^{{{int(exponent)}}}$"
    power = f"10{raised}"
    return power if digits == "1" else f"{digits}×{power}"


def safe_math(text: str, plain: str) -> str:
    """`text` in dollar signs when matplotlib can set it as mathematics, else the plain text."""
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(f"${text}$")
    except ValueError:
        return plain.replace("$", r"\$")
    return f"${text}$"


def covered(axes: "Axes", box: Any, lines: Iterable[Any]) -> bool:
    """Whether a box (display units) lies over one of the lines, each (n, 2) data coordinates."""
    from matplotlib.path import Path as Outline

    for line in lines:
        shown = axes.transData.transform(line)
        if len(shown) > 1 and Outline(shown).intersects_bbox(box, filled=False):
            return True
        if any(box.contains(x, y) for x, y in shown):
            return True
    return False


def place_legend(
    axes: Any, lines: Sequence[Any], places: Sequence[str], **options: Any
) -> "Legend":
    """Put the legend where it covers no line; raise the top of the axis until there is room.

    The figure must be settled: a legend hangs on axes whose place no longer changes.
    """
    import numpy as np

    lines = [np.asarray(line, dtype=float) for line in lines if len(line)]
    boxes = {}
    for place in places:
        legend = axes.legend(loc=place, **options)
        legend.set_in_layout(False)
        boxes[place] = legend.get_window_extent().padded(4)
    low, high = axes.get_ylim()
    for step in range(60):
        axes.set_ylim(low, high * (high / low) ** (0.04 * step))
        for place in places:
            if not covered(axes, boxes[place], lines):
                plain_log_axis(axes)
                return axes.legend(loc=place, **options)
    raise RuntimeError("no room for the legend even on an axis many times as long as its lines")
