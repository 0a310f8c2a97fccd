"""Repeated data: distinct tokens x epochs (Muennighoff et al. 2023, arXiv:2305.16264)."""

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
class Repeats:
    """Each size on U distinct tokens for several epochs: D = U x epochs. What a repeated token is
    worth is the constant R_D of the law."""

    unique_tokens: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Values of U."""
    epochs: Annotated[tuple[Rate, ...], Field(min_length=2)] = (1, 2, 4, 8, 16)
    """Passes over them; they need not be whole."""
    max_tokens: Positive | None = None
    """Leave out runs of more tokens than this."""


def points(study: Study, options: Repeats) -> Iterator[Point]:
    """Sizes x distinct tokens x epochs."""
    for _, point in ladder_points(study):
        for unique in options.unique_tokens:
            for epochs in options.epochs:
                tokens = round(unique * epochs)
                if options.max_tokens is None or tokens <= options.max_tokens:
                    varied = {"training.unique_tokens": unique, "training.tokens": tokens}
                    yield replace(point, values={**point.values, **varied})


register(
    Design(
        name="repeats",
        options=Repeats,
        points=points,
        sets=("training.tokens", "training.tokens_per_param", "training.unique_tokens"),
        fits=({"law": "data_constrained"},),
        figures=("repeats",),
    )
)
