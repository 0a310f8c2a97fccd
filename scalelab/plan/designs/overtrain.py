"""Over-training: from few tokens per parameter to many (Gadre et al. 2024, arXiv:2403.08540)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive, Rate
from scalelab.plan.designs import Design, Point, ladder_points, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Overtrain:
    """Each size at several tokens per parameter M. At one M the law is a line in log C above the
    floor; the lines of all M are parallel where alpha = beta (Gadre et al. 2024, equation 4)."""

    ratios: Annotated[tuple[Rate, ...], Field(min_length=2)] = (5, 10, 20, 40, 80, 160, 320, 640)
    """Tokens per parameter, D / N."""
    max_tokens: Positive | None = None
    """Leave out runs of more tokens than this."""


def points(study: Study, options: Overtrain) -> Iterator[Point]:
    """Sizes x tokens per parameter, up to the largest D."""
    for rung, point in ladder_points(study):
        for ratio in options.ratios:
            if options.max_tokens is None or ratio * rung.n <= options.max_tokens:
                yield replace(point, values={**point.values, "training.tokens_per_param": ratio})


register(
    Design(
        name="overtrain",
        options=Overtrain,
        points=points,
        sets=("training.tokens", "training.tokens_per_param"),
        # With alpha = beta this is Gadre's L(C, M); the free law beside it says whether it holds.
        fits=({"law": "chinchilla", "tied": (("alpha", "beta"),)}, {"law": "chinchilla"}),
        answers=lambda options: ({"answer": "frontier"},),
        figures=("overtraining", "contours", "approaches"),
    )
)
