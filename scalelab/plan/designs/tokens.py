"""D at fixed N: how loss falls with data."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive
from scalelab.plan.designs import Design, Point, ladder_points, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tokens:
    """Several D at each size. With `training.schedule.share_trunk` they are cooldown branches of
    one trunk a size (Haegele et al. 2024)."""

    tokens: Annotated[tuple[Positive, ...], Field(min_length=2)]
    """Values of D."""


def points(study: Study, options: Tokens) -> Iterator[Point]:
    """Sizes x tokens."""
    for _, point in ladder_points(study):
        for tokens in options.tokens:
            yield replace(point, values={**point.values, "training.tokens": tokens})


register(
    Design(
        name="tokens",
        options=Tokens,
        points=points,
        sets=("training.tokens", "training.tokens_per_param"),
        fits=({"law": "power_offset", "x": "D"},),
        figures=("scaling_law", "tokens"),
    )
)
