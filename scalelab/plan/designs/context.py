"""Context length at fixed N and D."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive
from scalelab.plan.designs import Design, Point, ladder_points, optimum, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Context:
    """Several training contexts at each size, each scored at its own: a longer one sees more of a
    document and costs more attention. Batches hold the same tokens."""

    contexts: Annotated[tuple[Positive, ...], Field(min_length=3)]
    """Tokens in a sequence."""


def points(study: Study, options: Context) -> Iterator[Point]:
    """Sizes x contexts."""
    for _, point in ladder_points(study):
        for context in options.contexts:
            yield replace(point, values={**point.values, "model.context": context})


register(
    Design(
        name="context",
        options=Context,
        points=points,
        answers=lambda options: (optimum("context"),),
        figures=("optimum",),
    )
)
