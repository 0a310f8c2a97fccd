"""Training loss of each run against FLOPs spent, with its held-out loss at the end and the lower
envelope of all runs (Hoffmann et al. 2022, arXiv:2203.15556, figure 2)."""

from scalelab.figures.curves import draw_curves
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study


@figure("Training loss against training FLOPs, one curve a run")
def draw(study: Study, width: str) -> Drawing:
    """Curves against exact training FLOPs; held-out loss at C."""
    return draw_curves(study, width, "flops", "training compute (FLOPs)", "C", envelope=True)
