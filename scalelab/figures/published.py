"""The study's ladder beside laws from papers: the losses, and how each falls with N.

Losses of other text and tokenizers do not compare. What compares is how fast the loss falls, so the
right panel divides each curve by its own value in the middle of the ladder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalelab.figures import law_lines, numbers, series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Run, Study

HEADER = ("what", "run", "N", "D", "loss", "loss_over_middle", "source")
SHOWN = {
    "kaplan2020-joint": "Kaplan et al. 2020",
    "hoffmann2022-unrounded": "Hoffmann et al. 2022",
    "besiroglu2024": "Besiroglu et al. 2024",
}
"""Published laws of N and D, by how they are cited."""
SAME = 0.02
"""D, or D / N, within this much of each other is the same: tokens are whole batches."""
LEAST = 3
DASHES: tuple[Any, ...] = ((0, (5, 1.5)), (0, (2, 1.2)), (0, (4, 1.2, 1, 1.2)))


@dataclass(frozen=True)
class Ladder:
    """Runs of several N with one D, or one D / N."""

    runs: tuple[Run, ...]
    told: str

    def tokens(self, n: float) -> float:
        """D at N, straight in logs between the runs, flat beyond."""
        return self._between("D", n)

    def whole(self, n: float) -> float:
        """All parameters at N, embeddings among them; N itself where the runs do not say."""
        return self._between("N_total", n) if self.runs[0].number("N_total") else n

    def _between(self, column: str, n: float) -> float:
        import numpy as np

        known = {run.size: run.number(column) or run.size for run in self.runs}
        at, value = np.log(list(known)), np.log(list(known.values()))
        return float(np.exp(np.interp(np.log(n), at, value)))


@figure(
    "The study's ladder beside published laws at the same N and D",
    "double",
    "three sizes at one D, or at one D / N",
)
def draw(study: Study, width: str) -> Drawing:
    """Left the losses as they are, right each over its own value in the middle of the ladder."""
    from scalelab.laws import published

    ladder = longest_ladder(study)
    wide = width == "double"
    result = style.new_figure(width, 3.3 if wide else 5.4)
    panels = result.subplots(*((1, 2) if wide else (2, 1)))
    losses = {run.id: run.number("loss_nats") or 0.0 for run in ladder.runs}
    sizes = [run.size for run in ladder.runs]
    middle = (min(sizes) * max(sizes)) ** 0.5
    along = law_lines.spaced(min(sizes), max(sizes))
    # The study's own level at the middle is read between its runs.
    scale = _between(ladder, losses, middle)
    rows: list[tuple[Any, ...]] = []
    seen: list[list[float]] = [list(losses.values()), [v / scale for v in losses.values()]]
    handles, labels = [], []
    for (name, told), dashes, look in zip(
        SHOWN.items(), DASHES, series.looks(len(SHOWN) + 1)[1:], strict=True
    ):
        law = published.get(name)
        # Each paper's law at its own count of parameters, drawn over ours.
        counted = ladder.whole if "all parameters" in law.convention else float
        at = [(n, ladder.tokens(n)) for n in along]
        values = _values(law, [(counted(n), d) for n, d in at])
        level = _values(law, [(counted(middle), ladder.tokens(middle))])[0]
        for panel, axes in enumerate(panels):
            shown = values if panel == 0 else [value / level for value in values]
            (line,) = axes.plot(
                along, shown, color=look["color"], linestyle=dashes, linewidth=1.1, zorder=2
            )
            seen[panel] += shown
        handles.append(line)
        labels.append(told)
        rows += [
            ("published", None, n, d, value, value / level, law.source)
            for (n, d), value in zip(at, values, strict=True)
        ]
    own = series.looks(1)[0]
    for panel, axes in enumerate(panels):
        shown = [losses[run.id] / (scale if panel else 1.0) for run in ladder.runs]
        dots = series.dots(axes, sizes, shown, own)
        series.log_axis(axes, "x", *series.log_range(sizes), inches=2.6)
        axes.set_yscale("log")
        axes.set_ylim(*series.log_range(seen[panel]))
        axes.set_xlabel(numbers.column_label(None))
    rows = [
        ("run", run.id, run.size, run.number("D"), losses[run.id], losses[run.id] / scale, None)
        for run in ladder.runs
    ] + rows
    panels[0].set_ylabel(numbers.loss_label(None))
    panels[1].set_ylabel(f"loss over that at $N$ = {numbers.short(middle)}")
    title = f"At {ladder.told}. The papers' laws are of other text and tokenizers and of larger N."
    if not wide:
        title = title.replace(". ", ".\n")
    result.suptitle(title, fontsize=style.small(), x=0.01, ha="left")
    handles, labels = [dots, *handles], [f"this study ({study.name})", *labels]
    series.legend_below(result, handles, labels, 4 if wide else 2)
    style.settle(result)
    for axes in panels:
        style.plain_log_axis(axes)
    return Drawing(result, HEADER, rows)


def longest_ladder(study: Study) -> Ladder:
    """The most sizes that share D, else D / N; `NotInStudy` where fewer than three do."""
    good = [run for run in study.runs if run.ok and run.number("D")]
    found: list[Ladder] = []
    for what, value in (
        ("D", lambda run: run.number("D")),
        ("D / N", lambda run: run.number("D") / run.size),
    ):
        for centre in sorted({value(run) for run in good}, reverse=True):
            runs = [run for run in good if abs(value(run) / centre - 1) <= SAME]
            told = f"${what}$ = {numbers.short(centre)} tokens"
            found.append(Ladder(tuple(runs), told + (" per parameter" if "/" in what else "")))
    best = max(found, key=lambda one: len({run.size for run in one.runs}), default=None)
    if best is None or len({run.size for run in best.runs}) < LEAST:
        raise NotInStudy(f"runs.csv of {study.name}: no {LEAST} sizes at one D, or at one D / N")
    return best


def _values(law: Mapping[str, Any], at: list[tuple[float, float]]) -> list[float]:
    import numpy as np

    from scalelab.laws import predict

    return [float(value) for value in predict(law, np.array(at, dtype=float))]


def _between(ladder: Ladder, losses: Mapping[str, float], n: float) -> float:
    """The study's loss at N, straight in logs between the means of its sizes."""
    import numpy as np

    sizes = sorted({run.size for run in ladder.runs})
    means = [np.mean([np.log(losses[r.id]) for r in ladder.runs if r.size == s]) for s in sizes]
    return float(np.exp(np.interp(np.log(n), np.log(sizes), means)))
