"""Number formats of the products of training, and what the narrowest goes with."""

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape

FP8 = ("fp8", "fp8_emulated")
NARROW = ("bf16", "fp16", "fp8")
"""Formats whose activations take two bytes; where fp8 is emulated they may take four."""
MULTIPLE = 16
"""What rows and columns of a product in fp8 are multiples of (torch's `scaled_mm`)."""


def require_fp8(study: Study, shape: Shape, counts: Counts, where: str) -> None:
    """Refuse what products in fp8 do not go with; other formats pass.

    Raises:
        UserError: a sparse family, whose experts are no layers of torch; a width that is no
            multiple of 16.
    """
    precision = study.training.precision
    if precision not in FP8:
        return
    if counts.idle:
        raise UserError(
            f"training.precision: found {precision}, which the sparse family {shape.family} does "
            "not go with"
        )
    if shape.width % MULTIPLE:
        raise UserError(
            f"training.precision: found {precision} with {where}, expected widths that are "
            f"multiples of {MULTIPLE}"
        )
