"""Depth against width at fixed N (Kaplan et al. 2020, section 3.1)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive
from scalelab.errors import UserError
from scalelab.plan.designs import Design, Point, optimum, register
from scalelab.plan.families import count
from scalelab.plan.sizes import nearest_width, shape_of

NEAR = 0.1
"""How far N may be from what was asked for: 10% of N is about 1% of loss at alpha = 0.1."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShapeStudy:
    """Several depths at each N, each with the width that brings N nearest; the heads of `model`."""

    params: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """N of each group."""
    depths: Annotated[tuple[Positive, ...], Field(min_length=3)]
    """Blocks."""


def points(study: Study, options: ShapeStudy) -> Iterator[Point]:
    """Sizes x depths.

    Raises:
        UserError: no width brings N within 10%.
    """
    ladder = study.ladder
    if ladder.widths or ladder.sizes or ladder.shapes:
        raise UserError("ladder: the design shape makes its own sizes, give design.params alone")
    for target in options.params:
        for depth in options.depths:
            at = replace(study, model=replace(study.model, depth=depth))
            width = nearest_width(at, target, study.model.heads)
            found = count(shape_of(at, width)).n
            if abs(found / target - 1) > NEAR:
                raise UserError(
                    f"design.depths: at depth {depth} the nearest width to N = {target:,} is "
                    f"{width} with N = {found:,}, more than {NEAR:.0%} off; leave the depth out"
                )
            yield Point({"model.depth": depth, "model.width": width}, ladder.seeds)


register(
    Design(
        name="shape",
        options=ShapeStudy,
        points=points,
        sets=("model.width",),
        answers=lambda options: (optimum("depth"),),
        figures=("optimum",),
    )
)
