"""Profile intervals of parameters and of predicted losses, all at once.

The profile of a quantity g is the least objective F among parameters with that g. Its interval
holds the values whose excess 2 (F - F_best) / b stays below t^2, with t the two-sided quantile of
Student's t on (points - parameters) degrees of freedom and b the noise scale of the objective:
Bates and Watts 1988, "Nonlinear regression analysis and its applications", section 6.1. The
quantile of t, not of the normal, since the noise is estimated from the same few points.

Each end is found by adding a stiff spring W/2 (g - v)^2 to the objective. Whatever v and W, the
minimum of that sum is the least F for the g that it attains, so every solution lies exactly on
the profile; v only steers where on it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimate import Estimate, noise_scales
from scalelab.laws.objective import Problem
from scalelab.laws.registry import Array, Functional
from scalelab.laws.solver import minimise

SPRING = 20.0
DOUBLINGS = 10
REFINEMENTS = 14
CLOSE = 1e-4
ENOUGH = 1e-9
"""Relative Newton decrement of a point of the profile: the objective is then known to as much."""


@dataclass(frozen=True)
class Target:
    """A quantity to profile: a natural parameter, or the log loss at centred logs u (m,)."""

    functional: Functional | None = None
    u: Array | None = None


def quantile(level: float, dof: int) -> float:
    """Two-sided quantile of Student's t."""
    # Here, since scipy.special takes longer to load than all the rest of this layer.
    from scipy.special import stdtrit

    return float(stdtrit(dof, 0.5 + level / 2))


def covariance(best: Estimate) -> Array:
    """Covariance of theta (P, P): Huber 1981, equation 7.6.5; s^2 (J'J)^-1 for least squares."""
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    jacobian = slopes[0] / loss[0][:, None]
    weights = best.problem.weights[:, None]
    return noise_scales(best)[0] * np.linalg.pinv(jacobian.T @ (weights * jacobian), rcond=1e-14)


def standard_error(best: Estimate, functional: Functional) -> float:
    """Standard error of a natural parameter by the delta method."""
    variance = functional.coefficients @ covariance(best) @ functional.coefficients
    value = float(functional.natural(best.theta))
    return float(np.sqrt(max(float(variance), 0.0))) * (value if functional.exponentiate else 1.0)


@dataclass(frozen=True)
class _Spring:
    """The objective with one spring per batch entry; entries are the two ends of each target."""

    problem: Problem
    linear: Array
    constant: Array
    u: Array
    is_point: np.ndarray
    stiffness: Array
    aim: Array

    def quantity(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """The profiled quantity (s,), its gradient (s, P) and Hessian (s, P, P)."""
        form = self.problem.form
        value = (theta * self.linear[rows]).sum(1) + self.constant[rows]
        slope = self.linear[rows].copy()
        bend = np.zeros((*theta.shape, theta.shape[1]))
        points = self.is_point[rows]
        if points.any():
            some, u = theta[points], self.u[rows][points][:, None, :]
            loss, slopes = form.gradient(some, u)
            slopes = slopes[:, 0] / loss
            value[points] = np.log(loss[:, 0])
            slope[points] = slopes
            bend[points] = form.curvature(some, u, 1 / loss)
            bend[points] -= slopes[:, :, None] * slopes[:, None, :]
        return value, slope, bend

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        value, gradient, hessian = self.problem(theta, rows)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            quantity, slope, bend = self.quantity(theta, rows)
            stretch, stiff = quantity - self.aim[rows], self.stiffness[rows]
            value = value + stiff * stretch**2 / 2
            gradient = gradient + (stiff * stretch)[:, None] * slope
            hessian = hessian + stiff[:, None, None] * (
                slope[:, :, None] * slope[:, None, :] + stretch[:, None, None] * bend
            )
        value = np.where(np.isfinite(value) & np.isfinite(hessian).all((1, 2)), value, np.inf)
        return value, np.nan_to_num(gradient), np.nan_to_num(hessian)


def profile(best: Estimate, targets: Sequence[Target], level: float) -> Array:
    """Ends of the interval of each target: (T, 2), in the target's own (linear or log) scale.

    An end that the data do not set is the end of the quantity's domain, or infinite.
    """
    theta, side, spring, sd = _prepare(best, targets)
    count, lower, upper = len(theta), *best.form.bounds()
    everyone = np.arange(count)
    goal, scale = quantile(level, best.dof), noise_scales(best)[1]
    base = best.problem(best.theta[None], np.zeros(1, int))[0][0]
    centre = spring.quantity(theta, everyone)[0]
    spring = dataclasses.replace(spring, stiffness=SPRING * scale / sd**2)

    def solve(rows: np.ndarray, aim: Array) -> tuple[Array, Array]:
        """Move those entries towards `aim`; what they attain and the signed root excess."""
        aims = np.zeros(count)
        aims[rows] = aim
        one = dataclasses.replace(spring, aim=aims)
        part = minimise(lambda t, r: one(t, rows[r]), theta[rows], lower, upper, 40, ENOUGH)
        attained = spring.quantity(part.theta, rows)[0]
        excess = best.problem(part.theta, rows)[0] - base
        theta[rows] = part.theta
        return attained, np.sqrt(np.maximum(2 * excess / scale, 0))

    near, far = np.stack([centre, -goal * np.ones(count)]), np.full((2, count), np.nan)
    reached = centre.copy()
    multiple, open_ends = np.ones(count), everyone
    for _ in range(DOUBLINGS):
        aim = centre[open_ends] + side[open_ends] * goal * sd[open_ends] * multiple[open_ends]
        attained, root = solve(open_ends, aim)
        reached[open_ends] = attained
        for end, some in ((far, root >= goal), (near, root < goal)):
            end[:, open_ends[some]] = aim[some], root[some] - goal
        open_ends = open_ends[root < goal]
        multiple[open_ends] *= 2
        if not len(open_ends):
            break
    ends = _refine(solve, goal, near, far)
    for row in np.flatnonzero(np.isnan(far[0])):
        ends[row] = _domain_end(targets[int(row) // 2], side[row], reached[row])
    return ends.reshape(-1, 2)


def _refine(
    solve: Callable[[np.ndarray, Array], tuple[Array, Array]], goal: float, near: Array, far: Array
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
        root = root - goal
        for end, other, sign, some in ((near, far, -1, root < 0), (far, near, 1, root >= 0)):
            rows = live[some]
            end[:, rows] = aim[some], root[some]
            # The end that stays twice in a row counts half, or it would stay for ever.
            other[1, rows[last[rows] == sign]] /= 2
            last[rows] = sign
        live = live[np.abs(root) > CLOSE * goal]
    return answer


def _prepare(best: Estimate, targets: Sequence[Target]) -> tuple[Array, Array, _Spring, Array]:
    """Starting thetas (2T, P), sides (2T,), the spring without stiffness, standard errors."""
    count, size = len(targets), len(best.theta)
    linear, constant = np.zeros((count, size)), np.zeros(count)
    u, is_point = np.zeros((count, best.problem.u.shape[1])), np.zeros(count, bool)
    for row, target in enumerate(targets):
        if target.functional is None:
            is_point[row], u[row] = True, target.u
        else:
            linear[row] = target.functional.coefficients
            constant[row] = target.functional.constant
    linear, constant, u, is_point = (
        np.repeat(item, 2, 0) for item in (linear, constant, u, is_point)
    )
    nothing = np.zeros(2 * count)
    spring = _Spring(best.problem, linear, constant, u, is_point, nothing, nothing)
    theta = np.repeat(best.theta[None], 2 * count, 0)
    slope = spring.quantity(theta, np.arange(2 * count))[1]
    variance = np.einsum("tp,pq,tq->t", slope, covariance(best), slope)
    sd = np.sqrt(np.maximum(variance, noise_scales(best)[0] * 1e-12))
    return theta, np.tile([-1.0, 1.0], count), spring, sd


def _domain_end(target: Target, side: float, attained: float) -> float:
    """Where an interval ends whose root excess never reached the goal."""
    functional = target.functional
    if functional is None or functional.exponentiate or side > 0:
        return side * np.inf
    # The profile ran into the domain's end, up to rounding, or stopped short of it.
    return functional.lower if attained - functional.lower < 1e-6 else -np.inf
