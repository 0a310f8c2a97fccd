"""Profile intervals of parameters and of predicted losses, all at once.

The profile of a quantity g is the least objective F among parameters with that g. Its interval
holds the values whose excess 2 (F - F_best) / b stays below t^2, with t the two-sided quantile of
Student's t on (points - parameters) degrees of freedom and b the noise scale of the objective:
Bates and Watts 1988, "Nonlinear regression analysis and its applications", section 6.1. The
quantile of t, not of the normal, since the noise is estimated from the same few points.

Where the variance of a quantity is not that of independent points, t is scaled by the ratio of
the standard errors: the vertical adjustment of Chandler and Bate 2007 (Biometrika 94(1),
167-183), for each quantity alone.

Each end is found with a stiff spring on the quantity (`laws.uncertainty.springs`).
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from scalelab.laws.estimation.estimate import Estimate, noise_scales
from scalelab.laws.estimation.solver import minimise
from scalelab.laws.registry import Array, Functional
from scalelab.laws.uncertainty.springs import Spring, Target, gradients, quantities

SPRING = 20.0
DOUBLINGS = 10
REFINEMENTS = 14
CLOSE = 1e-4
ENOUGH = 1e-9
"""Relative Newton decrement of a point of the profile: the objective is then known to as much."""

Spread = Callable[[Array], tuple[Array, Array]]
"""From derivatives (T, P) of quantities to their standard errors and degrees of freedom (T,)."""


def quantile(level: float, dof: float) -> float:
    """Two-sided quantile of Student's t."""
    return float(quantiles(level, np.array([dof], float))[0])


def quantiles(level: float, dof: Array) -> Array:
    """Two-sided quantiles of Student's t for degrees of freedom (T,)."""
    # Here, since scipy.special takes longer to load than all the rest of this layer.
    from scipy.special import stdtrit

    return np.asarray(stdtrit(dof, 0.5 + level / 2), float)


def covariance(best: Estimate) -> Array:
    """Covariance of theta (P, P): Huber 1981, equation 7.6.5; s^2 (J'J)^-1 for least squares."""
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    jacobian = slopes[0] / loss[0][:, None]
    weights = best.problem.weights[:, None]
    return noise_scales(best)[0] * np.linalg.pinv(jacobian.T @ (weights * jacobian), rcond=1e-14)


def standard_error(best: Estimate, functional: Functional) -> float:
    """Standard error of a natural parameter by the delta method, for independent points."""
    variance = functional.coefficients @ covariance(best) @ functional.coefficients
    value = float(functional.natural(best.theta))
    return float(np.sqrt(max(float(variance), 0.0))) * (value if functional.exponentiate else 1.0)


def ordinary_spread(best: Estimate, slopes: Array) -> tuple[Array, Array]:
    """Standard errors (T,) and degrees of freedom (T,) of independent points of equal noise."""
    variance = np.einsum("tp,pq,tq->t", slopes, covariance(best), slopes)
    floor = noise_scales(best)[0] * 1e-12
    return np.sqrt(np.maximum(variance, floor)), np.full(len(slopes), float(best.dof))


def profile(
    best: Estimate, targets: Sequence[Target], level: float, spread: Spread | None = None
) -> Array:
    """Ends of the interval of each target: (T, 2), in the target's own (linear or log) scale.

    spread: standard errors and degrees of freedom other than those of independent points. An end
    that the data do not set is the end of the quantity's domain, or infinite.
    """
    count, lower, upper = 2 * len(targets), *best.form.bounds(best.problem.u)
    slopes = gradients(best, targets)
    plain, dof = ordinary_spread(best, slopes)
    wide, dof = spread(slopes) if spread else (plain, dof)
    sd, goal = np.repeat(plain, 2), np.repeat(quantiles(level, dof) * wide / plain, 2)
    theta, side = np.repeat(best.theta[None], count, 0), np.tile([-1.0, 1.0], len(targets))
    everyone = np.arange(count)
    scale = noise_scales(best)[1]
    base = best.problem(best.theta[None], np.zeros(1, int))[0][0]
    quantity = quantities(best, targets, 2)
    centre = quantity(theta, everyone)[0]
    spring = Spring(quantity, SPRING * scale / sd**2, np.zeros(count))

    def solve(rows: np.ndarray, aim: Array) -> tuple[Array, Array]:
        """Move those entries towards `aim`; what they attain and the signed root excess."""
        aims = np.zeros(count)
        aims[rows] = aim
        one = dataclasses.replace(spring, aim=aims)
        part = minimise(lambda t, r: one(t, rows[r]), theta[rows], lower, upper, 40, ENOUGH)
        attained = quantity(part.theta, rows)[0]
        excess = best.problem(part.theta, rows)[0] - base
        theta[rows] = part.theta
        return attained, np.sqrt(np.maximum(2 * excess / scale, 0))

    near, far = np.stack([centre, -goal]), np.full((2, count), np.nan)
    reached, aimed = centre.copy(), centre.copy()
    # An infinite error has no end to look for.
    multiple, open_ends = np.ones(count), np.flatnonzero(np.isfinite(goal))
    for _ in range(DOUBLINGS):
        if not len(open_ends):
            break
        step = goal[open_ends] * sd[open_ends] * multiple[open_ends]
        aim = centre[open_ends] + side[open_ends] * step
        attained, root = solve(open_ends, aim)
        reached[open_ends], aimed[open_ends] = attained, aim
        short = root - goal[open_ends]
        for end, some in ((far, short >= 0), (near, short < 0)):
            end[:, open_ends[some]] = aim[some], short[some]
        open_ends = open_ends[short < 0]
        multiple[open_ends] *= 2
    ends = _refine(solve, goal, near, far)
    for row in np.flatnonzero(np.isnan(far[0])):
        target = targets[int(row) // 2]
        if not slopes[int(row) // 2].any():  # nothing that is fitted moves it
            ends[row] = centre[row]
        elif target.functional is None and np.isfinite(goal[row]):
            # A quantity that stays behind what is asked of it has a limit of its own.
            stuck = abs(reached[row] - centre[row]) < abs(aimed[row] - centre[row]) / 2
            ends[row] = reached[row] if stuck else side[row] * np.inf
        else:
            ends[row] = _domain_end(target, side[row], reached[row])
    return ends.reshape(-1, 2)


def _refine(
    solve: Callable[[np.ndarray, Array], tuple[Array, Array]], goal: Array, near: Array, far: Array
) -> Array:
    """What is attained where the root excess meets the goal, by the Illinois rule on the aims.

    near, far (2, T): aims on either side, and root excess minus goal there, below 0 and above.
    """
    near, far = near.copy(), far.copy()
    answer, live = np.full(near.shape[1], np.nan), np.flatnonzero(~np.isnan(far[0]))
    last = np.zeros(near.shape[1])
    for _ in range(REFINEMENTS):
        if not len(live):
            break
        (a, fa), (b, fb) = near[:, live], far[:, live]
        aim = (a * fb - b * fa) / (fb - fa)
        answer[live], root = solve(live, aim)
        root = root - goal[live]
        for end, other, sign, some in ((near, far, -1, root < 0), (far, near, 1, root >= 0)):
            rows = live[some]
            end[:, rows] = aim[some], root[some]
            # The end that stays twice in a row counts half, or it would stay for ever.
            other[1, rows[last[rows] == sign]] /= 2
            last[rows] = sign
        live = live[np.abs(root) > CLOSE * goal[live]]
    return answer


def _domain_end(target: Target, side: float, attained: float) -> float:
    """Where an interval ends whose root excess never reached the goal."""
    functional = target.functional
    if functional is None or functional.exponentiate or side > 0:
        return side * np.inf
    # The profile ran into the domain's end, up to rounding, or stopped short of it.
    return functional.lower if attained - functional.lower < 1e-6 else -np.inf
