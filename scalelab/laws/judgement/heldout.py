"""Extrapolation put to the test: fit without the largest sizes, predict them, compare.

A law that rises (an error with the loss) is extrapolated downwards: there the smallest x are left
out.
"""

from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.judgement.sanity import ONE_VARIABLE
from scalelab.laws.registry import Array
from scalelab.laws.result import finite, prediction_interval, unit_of
from scalelab.laws.runs.points import Points
from scalelab.laws.uncertainty.intervals import Uncertainty

MOST_SIZES = 5
"""Sizes that are left out at most, one more at a time."""
LEAST_VALUES = 3
"""Distinct values of each x without which two terms are not told apart."""


def farthest(points: Points, sizes: int = 1, rising: bool = False) -> np.ndarray:
    """Which points (n,) have one of the largest values of the first x, all D of a size together;
    of a law that rises, one of the smallest."""
    outward = -points.x[:, 0] if rising else points.x[:, 0]
    distinct = np.unique(outward)
    return outward >= distinct[-min(sizes, len(distinct))]


def enough(x: Array, parameters: int) -> bool:
    """Whether points at x (n, m) can determine a law: more points than parameters, and several
    values of each x that do not all go together."""
    if len(x) <= parameters:
        return False
    if x.shape[1] == 1:
        return True
    if min(len(np.unique(column)) for column in x.T) < LEAST_VALUES:
        return False
    return abs(float(np.corrcoef(np.log(x[:, :2]).T)[0, 1])) < ONE_VARIABLE


def without(
    best: Estimate, points: Points, sure: Uncertainty, left: np.ndarray
) -> tuple[Estimate, Uncertainty] | None:
    """The law fitted to the points that are not left out (n,) bool; None where it cannot be."""
    kept = ~left
    if not left.any() or not enough(points.x[kept], len(best.theta)):
        return None
    weights = None if points.weights is None else points.weights[kept]
    try:
        found = best.again(points.x[kept], points.log_loss[kept], weights)
    except UserError:
        return None
    return (found, sure.of(found, kept)) if found.converged else None


def held_out(
    best: Estimate, points: Points, sure: Uncertainty, level: float, sizes: int = 1
) -> dict[str, Any] | None:
    """The farthest sizes predicted as new runs by a fit to the others; None if too few are left, or
    where that fit has no loss above 0.

    The scalar keys are of the point that is farthest out, `points` holds each one.
    """
    left = farthest(points, sizes, best.base.rising)
    fitted = without(best, points, sure, left)
    if fitted is None:
        return None
    x, unit = points.x[left], unit_of(points.y)
    ends, centre = prediction_interval(fitted[0], x, level, fitted[1], new_run=True)
    if not np.isfinite(centre).all():
        return None
    observed = np.exp(points.log_loss[left])
    rows = [
        {
            **{c: float(v) for c, v in zip(points.columns, x[i], strict=True)},
            f"predicted_{unit}": float(centre[i]),
            f"observed_{unit}": float(observed[i]),
            "low": finite(ends[i, 0]),
            "high": finite(ends[i, 1]),
            "error_relative": float(centre[i] / observed[i] - 1),
            "inside": bool(ends[i, 0] <= observed[i] <= ends[i, 1]),
        }
        for i in range(len(x))
    ]
    outward = np.log(x).sum(1) * (-1 if best.base.rising else 1)
    far = rows[int(np.argmax(outward))]
    errors = np.array([row["error_relative"] for row in rows])
    return {
        "left_out": [far[c] for c in points.columns],
        "fitted_on": int((~left).sum()),
        **{k: far[k] for k in (f"predicted_{unit}", f"observed_{unit}", "low", "high")},
        "error_relative": far["error_relative"],
        "sizes_left_out": sizes,
        "rms_error_relative": float(np.sqrt((errors**2).mean())),
        "inside": sum(row["inside"] for row in rows),
        "points": rows,
        "params": fitted[0].params,
    }


def held_out_series(
    best: Estimate, points: Points, sure: Uncertainty, level: float
) -> list[dict[str, Any]]:
    """`held_out` with the 1, 2, 3, ... farthest sizes left out: how far the law could be trusted to
    reach from smaller and smaller runs.

    The first is there whenever `held_out` gives it; the others end where a fit has less than two
    settings more than it has parameters, since a noise of one degree of freedom is luck.
    """
    series: list[dict[str, Any]] = []
    for sizes in range(1, min(MOST_SIZES, len(np.unique(points.x[:, 0])) - 1) + 1):
        kept = points.x[~farthest(points, sizes, best.base.rising)]
        if series and len(np.unique(kept, axis=0)) < len(best.theta) + 2:
            break
        block = held_out(best, points, sure, level, sizes)
        if block is None:
            break
        series.append(block)
    return series
