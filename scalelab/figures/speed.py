"""What compression buys in time: held-out loss against the tokens that a model writes a second."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.figures import series, style
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("texts", "what", "form", "N", "D", "tokens_per_second", "se", "loss")
Rows = list[tuple[Any, ...]]


@figure("Loss against the speed of writing", "double", needs="the measure speed")
def draw(study: Study, width: str) -> Drawing:
    """A panel for each number of texts at once, a look a form, with the front of least loss.

    Bars are two standard errors of the speed; a ring is a model on the front beyond the errors of
    speed and loss.
    """
    points = study.answered("compression")[0].get("speed_front", [])
    if not points:
        raise NotInStudy("the figure speed needs the measure speed, found no speeds")
    counts = list(dict.fromkeys(one["texts"] for one in points))
    forms = _in_order({one["form"] for one in points})
    looks = dict(zip(forms, series.looks(len(forms)), strict=True))
    wide = width == "double"
    shape = (1, len(counts)) if wide else (len(counts), 1)
    result = style.new_figure(width, 3.0 if wide else 0.6 + 2.3 * len(counts))
    panels = result.subplots(*shape, squeeze=False, sharey=True)
    rows: Rows = []
    handles: dict[str, Any] = {}
    for texts, axes in zip(counts, panels.flat, strict=True):
        rows += _panel(axes, [one for one in points if one["texts"] == texts], looks, handles)
        axes.set_title("one text" if texts == 1 else f"{texts} texts at once", loc="left")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("held-out loss (nats/token)")
        axes.set_xlabel("tokens a second, of all texts")
    names = [_label(name) for name in handles]
    series.legend_below(result, list(handles.values()), names, 5 if wide else 2)
    style.settle(result)
    return Drawing(result, HEADER, rows)


def _panel(
    axes: "Axes",
    points: Sequence[Mapping[str, Any]],
    looks: Mapping[str, Mapping[str, Any]],
    handles: dict[str, Any],
) -> Rows:
    rows: Rows = []
    for form, look in looks.items():
        here = [one for one in points if one["form"] == form]
        for one in here:
            x, away = one["tokens_per_second"], 2 * (one["se"] or 0.0)
            ends = [x - away, x + away]
            axes.plot(ends, [one["loss"]] * 2, color=look["color"], linewidth=0.7, zorder=2)
            told = (one["N"], one["D"], x, one["se"], one["loss"])
            rows.append((one["texts"], "model", form, *told))
        x, y = [one["tokens_per_second"] for one in here], [one["loss"] for one in here]
        handles[form] = series.dots(axes, x, y, look)
    best = [one for one in points if one["front"]][::-1]
    x, y = [one["tokens_per_second"] for one in best], [one["loss"] for one in best]
    (handles["front"],) = axes.step(x, y, where="pre", color=style.LAW, linewidth=0.9, zorder=1)
    clear = [one for one in best if one["clear"]]
    ring: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none"}
    (handles["clear"],) = axes.plot(
        [one["tokens_per_second"] for one in clear],
        [one["loss"] for one in clear],
        **{**ring, "linestyle": "none", "markeredgecolor": style.LAW, "markeredgewidth": 0.8},
        zorder=5,
    )
    for one in best:
        told = (one["N"], one["D"], one["tokens_per_second"], one["se"], one["loss"])
        what = "front, clear" if one["clear"] else "front"
        rows.append((one["texts"], what, one["form"], *told))
    speeds = [one["tokens_per_second"] for one in points]
    series.log_axis(axes, "x", *series.log_range(speeds), inches=2.6)
    return rows


def _in_order(forms: set[str]) -> list[str]:
    """Whole numbers first, then fewer bits, then fewer channels."""
    bits = {"fp32": 0, "bf16": 1, "fp16": 2, "int8": 3}
    return sorted(forms, key=lambda name: (bits.get(name, 4), name))


def _label(name: str) -> str:
    if name.startswith("channels"):
        return f"{name.removeprefix('channels')}% of channels cut"
    return {"clear": "on it beyond the errors"}.get(name, name)
