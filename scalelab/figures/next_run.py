"""Expected interval against cost: the best next runs beside what is done by habit.

A plain function and no figure of the registry, since those are drawn for every study.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scalelab.advise.report import Advice

KINDS = (
    ("random", "random choice", style.SEED, ":", "s"),
    ("next_larger", "next larger size", style.AHEAD, "--", "^"),
    ("half_width", "best choice", style.LAW, "-", "o"),
)


def draw(advice: "Advice", width: str = "single") -> "Figure":
    """Lines: `advise.report.curve`; points with bars at the budget: by
    the intervals that a fit prints.

    Bars hold 80% of the simulated outcomes, the band 80% of the random choices.
    """
    from scalelab.advise.report import label

    result = style.new_figure(width, 2.6)
    axes: Any = result.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    choice, rows = advice.choice, advice.curve
    flops = np.array([row["budget_flops"] for row in rows])
    drawn: list[Any] = []
    if len(rows) > 1:
        band = [np.array([row[key] for row in rows]) for key in ("random_low", "random_high")]
        axes.fill_between(flops, *band, color=style.SEED, alpha=0.18, linewidth=0)
        drawn += [np.column_stack([flops, edge]) for edge in band]
    checked = {"half_width": advice.chosen, "next_larger": advice.larger, "random": advice.random}
    for place, (key, words, colour, dash, marker) in enumerate(KINDS):
        values = np.array([row[key] for row in rows])
        axes.plot(flops, values, dash, color=colour, label=words)
        drawn.append(np.column_stack([flops, values]))
        one = checked[key]
        if not np.isfinite(one.half_width):
            continue
        # Side by side, beyond the budget that all three have, so that the bars do not cover.
        x = choice.budget * 10 ** (0.05 * (len(KINDS) - place))
        high = one.half_width_high if np.isfinite(one.half_width_high) else one.half_width
        bars = [[one.half_width - one.half_width_low], [high - one.half_width]]
        axes.errorbar(
            [x],
            [one.half_width],
            bars,
            fmt=marker,
            color=colour,
            markersize=3.6,
            linewidth=0.8,
            capsize=1.8,
            markeredgewidth=0.8,
        )
        drawn.append(np.array([[x, one.half_width_low], [x, high]]))
    now = choice.state.half_width
    if np.isfinite(now):
        axes.axhline(now, color=style.INK, linewidth=0.6, dashes=(1, 2))
        axes.annotate(
            "now",
            (0, now),
            (2, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize="small",
            va="bottom",
        )
        drawn.append(np.array([[flops[0], now], [choice.budget * 1.5, now]]))
    else:
        axes.set_title("now: an open interval", loc="left", fontsize="small")
    axes.set_xlabel("budget for the next runs (FLOPs)")
    axes.set_ylabel(label(choice.state.asked))
    low, high_x = axes.get_xlim()
    style.power_log_axis(axes.xaxis, low, high_x, most=5)
    everything = np.concatenate([line[:, 1] for line in drawn])
    axes.set_ylim(everything.min() / 1.12, everything.max() * 1.12)
    style.plain_log_axis(axes)
    style.settle(result)
    handles, words = axes.get_legend_handles_labels()
    style.place_legend(
        axes,
        drawn,
        ("upper right", "lower left", "upper center", "lower right"),
        handles=handles[::-1],
        labels=words[::-1],
    )
    return result
