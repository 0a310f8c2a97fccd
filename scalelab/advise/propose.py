"""A study for a budget: sizes, tokens, batch and learning rate, and what it is expected to tell."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalelab.advise.shapes import Size, ladder, settings_for
from scalelab.errors import UserError

RATIO = 20
"""Tokens per parameter near the compute-optimal ones (Hoffmann et al. 2022, section 3.4)."""
RATIOS = (5, 10, 20, 40, 80)
"""Of the grid and of over-training."""
BUDGET_STEP, CURVES = 3.0, 4
"""IsoFLOP curves: each budget three times the one before."""
SPAN = 100.0
"""The smallest size is a hundredth of the largest where shapes go so far."""
DESIGNS = ("ladder", "grid", "isoflop", "overtrain")


@dataclass(frozen=True)
class Proposal:
    """A design within a budget. runs: (size, tokens) of each; options: of `design`."""

    design: str
    options: dict[str, Any]
    sizes: list[Size]
    runs: list[tuple[Size, float]]
    tokens_per_param: float | None

    @property
    def flops(self) -> float:
        """Training FLOPs of all runs."""
        return sum(size.counts.training_flops * tokens for size, tokens in self.runs)

    @property
    def largest(self) -> float:
        """Training FLOPs of the dearest run."""
        return max(size.counts.training_flops * tokens for size, tokens in self.runs)


def propose(design: str, flops: float, sizes: int) -> Proposal:
    """The largest study of this design and so many sizes that costs no more than `flops`.

    Raises:
        UserError: an unknown design, fewer than four sizes, a budget that no study can meet.
    """
    if design not in DESIGNS:
        raise UserError(f"--design {design}: expected one of {', '.join(DESIGNS)}")
    if sizes < 4:
        raise UserError(f"--sizes {sizes}: expected 4 or more, since a law has three constants")
    make = _isoflop if design == "isoflop" else _levels
    best: Proposal | None = None
    # A larger top can bring another context and so another cost: go up while the budget lasts.
    for top in range(sizes - 1, len(ladder(128, 512))):
        found = make(design, top, sizes)
        if found is None or found.flops > flops:
            if best is not None:
                break
            continue
        best = found
    if best is None:
        raise UserError(
            f"--flops {flops:.3g}: too few for a study of {sizes} sizes by the design {design}, "
            f"whose smallest costs {_least(make, design, sizes):.3g} training FLOPs"
        )
    return best


def reaching(n: float, sizes: int) -> Proposal:
    """The ladder at D = 20 N whose largest size is the last clean shape of at most n parameters.

    Raises:
        UserError: fewer shapes lie below n than there are to be sizes.
    """
    shapes = ladder(128, 512)
    top = sum(size.n <= n for size in shapes) - 1
    if sizes < 2 or top + 1 < sizes:
        raise UserError(
            f"--up-to {n:g} --sizes {sizes}: expected at least 2 sizes, and no more than the "
            f"{max(top + 1, 0)} shapes of up to so many parameters"
        )
    return _levels("ladder", top, sizes)


def _least(make: Callable[[str, int, int], Proposal | None], design: str, sizes: int) -> float:
    tops = range(sizes - 1, len(ladder(128, 512)))
    return min(
        (one.flops for one in (make(design, top, sizes) for top in tops) if one is not None),
        default=math.inf,
    )


def _shapes(top: int) -> list[Size]:
    """The clean shapes up to a place, with the context and vocabulary of the largest."""
    largest = ladder(128, 512)[top]
    return ladder(*settings_for(largest.n))[: top + 1]


def _levels(design: str, top: int, sizes: int) -> Proposal:
    """Sizes even in log N over the span, each at one ratio D/N or at several."""
    shapes = _shapes(top)
    chosen = _even([size for size in shapes if size.n * SPAN >= shapes[-1].n], sizes)
    if len(chosen) < sizes:  # shapes are coarse near the bottom
        chosen = shapes[-sizes:]
    ratios = (RATIO,) if design == "ladder" else RATIOS
    runs = [(size, float(ratio * size.n)) for size in chosen for ratio in ratios]
    options: dict[str, Any] = {} if design == "ladder" else {"ratios": list(ratios)}
    return Proposal(design, options, chosen, runs, RATIO if design == "ladder" else None)


def _isoflop(design: str, top: int, sizes: int) -> Proposal | None:
    """Curves whose best sizes, at D = 20 N, lie in the middle of the shapes; top: the largest."""
    shapes = _shapes(top)
    half = sizes // 2
    if len(shapes) < sizes:
        return None
    # The design expects the best size of a budget where it buys 20 tokens per parameter.
    middle = shapes[len(shapes) - sizes + half - 1]
    dearest = RATIO * middle.n * middle.counts.training_flops * 1.0001
    budgets = [dearest / BUDGET_STEP**curve for curve in reversed(range(CURVES))]
    used: dict[int, Size] = {}
    runs: list[tuple[Size, float]] = []
    for budget in budgets:
        below = sum(RATIO * size.n * size.counts.training_flops <= budget for size in shapes)
        start = below - half
        if start < 0 or start + sizes > len(shapes) or below < 2:
            return None
        for size in shapes[start : start + sizes]:
            used[size.n] = size
            runs.append((size, budget / size.counts.training_flops))
    options = {"budgets": [float(f"{budget:.3g}") for budget in budgets], "sizes": sizes}
    return Proposal(design, options, [used[n] for n in sorted(used)], runs, None)


def _even(shapes: list[Size], count: int) -> list[Size]:
    """So many of the shapes, the nearest to even steps of log N."""
    low, high = math.log(shapes[0].n), math.log(shapes[-1].n)
    wanted = [low + (high - low) * i / (count - 1) for i in range(count)]
    places = {min(range(len(shapes)), key=lambda i: abs(math.log(shapes[i].n) - w)) for w in wanted}
    return [shapes[place] for place in sorted(places)]
