"""IsoFLOP: several sizes at each budget of FLOPs (Hoffmann et al. 2022, approach 2)."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Number, Rate, to_count
from scalelab.errors import UserError
from scalelab.plan.designs import Design, Point, ladder_points, register
from scalelab.plan.sizes import Rung

RATIO = 20
LEAST = 4
"""Sizes on a curve: a parabola has three numbers, and one size is left to check it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimum:
    """Where the minimum of each curve is expected: N = value (C / at)^exponent."""

    value: Rate
    """N at C = `at`."""
    at: Rate
    """Training FLOPs."""
    exponent: Number = 0.5
    """Power of C; near 0.5 in Hoffmann et al. 2022."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IsoFlop:
    """Budgets x sizes. At each budget the sizes of the ladder around the expected optimum are
    trained for as many tokens as the budget buys, so that the minimum lies inside the curve."""

    budgets: Annotated[tuple[Rate, ...], Field(min_length=1)]
    """Training FLOPs of each curve (exact ones, attention and output head included)."""
    sizes: Annotated[int, BeforeValidator(to_count), Field(ge=LEAST)] = 5
    """Sizes at each budget: neighbours on the ladder."""
    optimum: Optimum | None = None
    """Where the minima are expected, from an earlier study. None: where the budget buys 20 tokens
    per parameter (Hoffmann et al. 2022), by exact FLOPs."""


def expected_optimum(options: IsoFlop, budget: float, sizes: Sequence[Rung]) -> float:
    """N expected to be best for a budget: by the rule, else D = 20 N between the sizes (ascending).

    Between two sizes ln(D / N) is taken as linear in ln N; beyond the last ones with the slope of
    C = 6 N D.
    """
    if options.optimum is not None:
        rule = options.optimum
        return float(rule.value * (budget / rule.at) ** rule.exponent)
    logs = [math.log(rung.n) for rung in sizes]
    over = [math.log(budget / (rung.counts.training_flops * rung.n * RATIO)) for rung in sizes]
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(logs, over, strict=True)):
        if y0 >= 0 >= y1:
            return math.exp(x0 + (x1 - x0) * (y0 / (y0 - y1) if y0 > y1 else 0.5))
    end = 0 if over[0] < 0 else -1
    return math.exp(logs[end] + over[end] / 2)


def points(study: Study, options: IsoFlop) -> Iterator[Point]:
    """At each budget the neighbours on the ladder that lie around the expected optimum.

    Raises:
        UserError: the ladder does not reach to both sides of an expected optimum.
    """
    ladder = ladder_points(study)
    logs = [math.log(rung.n) for rung, _ in ladder]
    for budget in options.budgets:
        best = math.log(expected_optimum(options, budget, [rung for rung, _ in ladder]))
        below = sum(log <= best for log in logs)
        # One size at least on each side, else the parabola is a slope.
        if len(ladder) < options.sizes or below < 2 or len(ladder) - below < 2:
            raise UserError(
                f"design.budgets: at {budget:.3g} FLOPs the best N is expected near "
                f"{math.exp(best):,.0f}, and the ladder has {below} sizes below and "
                f"{len(ladder) - below} above, expected {options.sizes} around it with two or "
                "more on each side; give the ladder more sizes, or design.optimum"
            )
        starts = range(
            max(below + 2 - options.sizes, 0), min(below - 2, len(ladder) - options.sizes) + 1
        )
        start = min(starts, key=lambda at: abs(logs[at] + logs[at + options.sizes - 1] - 2 * best))
        for rung, point in ladder[start : start + options.sizes]:
            tokens = round(budget / rung.counts.training_flops)
            values = {**point.values, "training.tokens": tokens}
            yield replace(point, values=values, budget=budget)


register(
    Design(
        name="isoflop",
        options=IsoFlop,
        points=points,
        sets=("training.tokens", "training.tokens_per_param"),
        fits=({"law": "chinchilla"},),
        answers=lambda options: ({"answer": "frontier"},),
        figures=("isoflop", "contours", "approaches"),
    )
)
