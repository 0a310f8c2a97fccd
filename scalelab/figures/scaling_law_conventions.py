"""Every fit of the study side by side: one panel a counting convention or explaining column."""

from scalelab.evaluation.columns import set_of
from scalelab.figures import style
from scalelab.figures.law_panel import HEADER, draw_law, finish
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import NotInStudy, Study


@figure("The fitted laws side by side, one for each way of counting", width="double")
def draw(study: Study, width: str) -> Drawing:
    """One panel for each fit with a single explaining column, two panels a row in two columns."""
    fits = study.one_dimensional
    if not fits:
        raise NotInStudy("laws.json: no fit with one explaining column, nothing to compare")
    across = min(len(fits), 2 if width == "double" else 1)
    down = -(-len(fits) // across)
    result = style.new_figure(width, 2.7 * down)
    panels = result.subplots(down, across, squeeze=False).flatten()
    drawn = []
    for axes, fit in zip(panels, fits, strict=False):
        name = set_of(str(fit.get("y", "loss_nats")))
        counted = fit.get("convention") or fit["x"]
        title = f"{counted}, on {name}" if name else counted
        axes.set_title(title, loc="left", fontweight="bold")
        drawn.append(draw_law(axes, study, fit))
    for spare in panels[len(fits) :]:
        spare.remove()
    finish(*drawn)
    rows = [
        (fit["law"], fit["x"], *row)
        for fit, panel in zip(fits, drawn, strict=True)
        for row in panel.rows
    ]
    return Drawing(result, ("law", "column", *HEADER), rows)
