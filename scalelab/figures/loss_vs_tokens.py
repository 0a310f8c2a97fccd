"""Training loss of each run against tokens seen, with its held-out loss at the end."""

from scalelab.figures.curves import draw_curves
from scalelab.figures.registry import Drawing, figure
from scalelab.figures.study import Study


@figure("Training loss against tokens, one curve a run")
def draw(study: Study, width: str) -> Drawing:
    """Curves against tokens; held-out loss at D."""
    return draw_curves(study, width, "tokens", "training tokens", "D")
