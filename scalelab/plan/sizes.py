"""The sizes of a study: widths, shapes, or the widths nearest to sizes that were asked for."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.plan import tokenizers
from scalelab.plan.families import OPTIONS, Counts, Shape, count


@dataclass(frozen=True)
class Rung:
    """One size. values: the keys of a study that make it; seeds: runs that differ in seed alone."""

    values: dict[str, Any]
    counts: Counts
    seeds: int

    @property
    def n(self) -> int:
        """N."""
        return self.counts.n


def vocabulary(study: Study) -> int:
    """Size of the vocabulary that the models see."""
    return tokenizers.vocabulary(study.corpus)


def shape_of(study: Study, width: int | None = None) -> Shape:
    """The shape of `study.model`, at another width where one is given.

    Raises:
        UserError: no width is given anywhere.
    """
    model = study.model
    width = width or model.width
    if width is None:
        raise UserError("model.width: missing, and the design gives no width either")
    return Shape(
        family=model.family,
        depth=model.depth,
        width=width,
        heads=model.heads,
        context=model.context,
        vocab=vocabulary(study),
        mup_base=model.mup_base_width or 0,
        **{name: getattr(model, name) for name in OPTIONS},
    )


def rungs(study: Study) -> list[Rung]:
    """The sizes of the ladder, ascending in N.

    Raises:
        UserError: sizes are given in two ways, in none, or too close to be told apart.
    """
    ladder = study.ladder
    ways = [bool(ladder.widths), bool(ladder.shapes), bool(ladder.sizes), bool(study.model.width)]
    if not any(ways):
        raise UserError(
            "the study has no runs: give ladder.widths, ladder.shapes, ladder.sizes or model.width"
        )
    if sum(ways) > 1:
        raise UserError(
            "ladder: expected one of ladder.widths, ladder.shapes, ladder.sizes and model.width"
        )
    if ladder.shapes:
        shapes = [asdict(shape) for shape in ladder.shapes]
    else:
        shapes = [{"width": width} for width in _widths(study)]
    found = []
    for values in shapes:
        model = replace(study.model, **values)
        counts = count(shape_of(replace(study, model=model)))
        found.append(({f"model.{key}": value for key, value in values.items()}, counts))
    unique = {tuple(values.items()): (values, counts) for values, counts in found}
    ordered = sorted(unique.values(), key=lambda item: item[1].n)
    return [
        Rung(values, counts, ladder.smallest_seeds if rank < ladder.smallest else ladder.seeds)
        for rank, (values, counts) in enumerate(ordered)
    ]


def width_step(study: Study) -> int:
    """Widths that are chosen for a size are multiples of this."""
    return math.lcm(study.ladder.width_multiple, study.model.heads)


def nearest_width(study: Study, target: float, step: int) -> int:
    """The multiple of `step` whose N is nearest to `target` in ratio."""

    def size(width: int) -> int:
        return count(shape_of(study, width)).n

    high = step
    while size(high) < target:
        high *= 2
    low = high // 2 or step
    while high - low > step:  # size(low) < target <= size(high)
        middle = (low + high) // 2 // step * step
        low, high = (middle, high) if size(middle) < target else (low, middle)
    return min((max(low, step), high), key=lambda width: abs(math.log(size(width) / target)))


def _widths(study: Study) -> Sequence[int]:
    ladder, model = study.ladder, study.model
    if model.width is not None:
        return [model.width]
    if ladder.widths:
        return ladder.widths
    step = width_step(study)
    chosen = [nearest_width(study, target, step) for target in ladder.sizes]
    if len(set(chosen)) < len(chosen):
        raise UserError(
            f"ladder.sizes: some sizes lie too close to be told apart in widths of {step}: "
            f"found widths {chosen}"
        )
    return chosen
