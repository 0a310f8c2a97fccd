"""N x D: the factorial that a law of both is fitted to (Hoffmann et al. 2022, approach 3)."""

from collections.abc import Iterator
from dataclasses import replace

from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive, Rate
from scalelab.errors import UserError
from scalelab.plan.designs import Design, Point, ladder_points, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grid:
    """Every size at every D, or at every D / N, for the parametric law of N and D."""

    tokens: tuple[Positive, ...] = ()
    """Values of D."""
    ratios: tuple[Rate, ...] = ()
    """Values of D / N, in place of `tokens`."""
    max_flops: Rate | None = None
    """Leave out runs that cost more training FLOPs than this."""


def points(study: Study, options: Grid) -> Iterator[Point]:
    """Sizes x tokens, within the budget of a run."""
    if bool(options.tokens) == bool(options.ratios):
        raise UserError("design: grid needs either tokens or ratios, one of the two")
    for rung, point in ladder_points(study):
        for tokens in options.tokens or [round(ratio * rung.n) for ratio in options.ratios]:
            if options.max_flops and tokens * rung.counts.training_flops > options.max_flops:
                continue
            yield replace(point, values={**point.values, "training.tokens": tokens})


register(
    Design(
        name="grid",
        options=Grid,
        points=points,
        sets=("training.tokens", "training.tokens_per_param"),
        fits=({"law": "chinchilla"},),
        answers=lambda options: ({"answer": "frontier"},),
        figures=("tokens", "contours", "approaches"),
    )
)
