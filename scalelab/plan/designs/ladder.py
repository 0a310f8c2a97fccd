"""Sizes at one D, or at one D / N: the default."""

from collections.abc import Iterator

from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.plan.designs import Design, Point, ladder_points, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ladder:
    """The sizes of the ladder, each at `training.tokens` or at `training.tokens_per_param`."""


def points(study: Study, options: Ladder) -> Iterator[Point]:
    """One point a size."""
    for _, point in ladder_points(study):
        yield point


register(
    Design(
        name="ladder",
        options=Ladder,
        points=points,
        fits=({"law": "power_offset", "x": "N"}, {"law": "power_offset", "x": "N_total"}),
        figures=("scaling_law", "scaling_law_conventions", "published"),
    )
)
