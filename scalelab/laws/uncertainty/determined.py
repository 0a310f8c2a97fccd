"""Whether the data set a parameter, or only the fit does: what is not printed as a number."""

from collections.abc import Mapping, Sequence

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points
from scalelab.laws.uncertainty.bootstrap import SINGULAR, condition

AT_BOUND = 1e-9
WIDEST = 100.0
"""High over low end of a coefficient's interval beyond which its value says nothing."""
SHORTEST = 0.5
"""Decades of a column of a two-column law below which its term has no exponent."""
LOAD = 1e-3

Ends = Mapping[str, Sequence[float | None]]


def not_determined(best: Estimate, points: Points, ends: Ends) -> dict[str, str]:
    """{parameter: why its value says nothing}, for those that it is true of.

    ends: the interval of each parameter that is not fixed.
    """
    short = _short_columns(best, points)
    singular = _singular(best)
    result = {}
    for name in best.determined:
        reason = (
            _floor(best, name, ends[name])
            or short.get(name)
            or singular.get(name)
            or _wide(best, name, ends[name])
        )
        if reason:
            result[name] = reason
    return result


def _floor(best: Estimate, name: str, pair: Sequence[float | None]) -> str | None:
    if name != best.base.offset:
        return None
    if best.params[name] <= AT_BOUND:
        return "at its bound 0"
    return "its interval contains 0" if pair[0] is None or pair[0] <= 0 else None


def _wide(best: Estimate, name: str, pair: Sequence[float | None]) -> str | None:
    low, high = pair
    if low is None or high is None:
        return "its interval has an open end"
    if best.functional(name).exponentiate and high > WIDEST * low:
        ratio = f"{high / low:.2g}" if low > 0 and np.isfinite(high / low) else "any size"
        return f"its interval spans a factor of {ratio}"
    return None


def _short_columns(best: Estimate, points: Points) -> dict[str, str]:
    """Both parameters of a term whose column hardly varies, in a law of several columns."""
    terms = getattr(best.base, "terms", ())
    if len(points.columns) < 2:
        return {}
    decades = np.log10(points.x.max(0) / points.x.min(0))
    result: dict[str, str] = {}
    for column, own, wide in zip(points.columns, best.base.columns, decades, strict=True):
        if wide >= SHORTEST - 1e-9:
            continue
        reason = f"{column} spans {wide:.2f} decades, under half a decade"
        for coefficient, exponent, name in terms:
            if name == own:
                result |= {coefficient: reason, exponent: reason}
    return result


def _singular(best: Estimate) -> dict[str, str]:
    """Parameters that a direction moves along which the points do not change."""
    number = float(condition(best, best.problem.weights[None])[0])
    if number <= SINGULAR:
        return {}
    values, vectors = _curvature(best)
    flat = vectors[:, values <= values[-1] / SINGULAR]
    result = {}
    for name in best.determined:
        along = best.functional(name).coefficients
        if np.abs(along @ flat).max() > LOAD * np.linalg.norm(along) * np.linalg.norm(flat, 2):
            result[name] = f"the curvature is singular (condition number {number:.0e})"
    return result


def _curvature(best: Estimate) -> tuple[Array, Array]:
    """Eigenvalues (P,) of J'J scaled to a unit diagonal; the directions of theta (P, P)."""
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    jacobian = np.sqrt(best.problem.weights)[:, None] * slopes[0] / loss[0][:, None]
    scale = np.sqrt(np.maximum((jacobian**2).sum(0), 1e-300))
    values, vectors = np.linalg.eigh((jacobian / scale).T @ (jacobian / scale))
    return values, vectors / scale[:, None]
