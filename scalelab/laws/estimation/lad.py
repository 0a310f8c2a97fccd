"""Least absolute deviations of log loss: the exact minimum, from a point near it.

At the minimum as many residuals are nought as there are free parameters, so the objective has a
corner there and Newton's method does not arrive. The model is made linear, the step that is best
for the linear model is a linear program, and that is repeated within a trust region: Osborne and
Watson 1971 (Computer Journal 14(2), "On an algorithm for discrete nonlinear L1 approximation").
"""

import numpy as np

from scalelab.laws.estimation.objective import Problem
from scalelab.laws.registry import Array

STEPS = 60
DONE = 1e-10
ROUNDING = 1e-15
"""Error of a log loss in double precision."""


def least_absolute(problem: Problem, theta: Array) -> tuple[Array, bool]:
    """The minimum (P,) of the weighted sum of absolute residuals near theta, and whether it is one.

    It is one when the linear model promises no further gain.
    """
    form, (lower, upper) = problem.form, problem.form.bounds(problem.u)
    radius = 0.1

    def objective(at: Array) -> tuple[Array, float]:
        with np.errstate(all="ignore"):
            residual = problem.y - np.log(form.value(at[None], problem.u)[0])
        total = float((problem.weights * np.abs(residual)).sum())
        return residual, total if np.isfinite(total) else np.inf

    residual, total = objective(theta)
    for _ in range(STEPS):
        loss, slopes = form.gradient(theta[None], problem.u)
        jacobian = slopes[0] / loss[0][:, None]
        ends = np.maximum(lower - theta, -radius), np.minimum(upper - theta, radius)
        step = _best_step(jacobian, residual, problem.weights, *ends)
        if step is None:
            break
        model = float((problem.weights * np.abs(residual - jacobian @ step)).sum())
        if total - model <= DONE * total + ROUNDING * len(residual):
            return theta, True
        trial = np.clip(theta + step, lower, upper)
        new_residual, new_total = objective(trial)
        share = (total - new_total) / (total - model)
        radius *= 2.0 if share > 0.75 else 0.25 if share < 0.25 else 1.0
        if share > 0:
            theta, residual, total = trial, new_residual, new_total
    return theta, False


def _best_step(
    jacobian: Array, residual: Array, weights: Array, low: Array, high: Array
) -> Array | None:
    """The step (P,) between low and high with the least sum of |residual - jacobian @ step|."""
    # Here, since scipy.optimize takes longer to load than the rest of this layer.
    from scipy import sparse
    from scipy.optimize import linprog

    count, size = jacobian.shape
    # The program's tolerances are absolute: residuals and steps are counted in typical residuals.
    unit = float(np.abs(residual).mean()) or 1.0
    model, slack = sparse.csr_array(jacobian), -sparse.eye_array(count)
    found = linprog(
        np.concatenate([np.zeros(size), weights]),
        A_ub=sparse.vstack([sparse.hstack([model, slack]), sparse.hstack([-model, slack])]),
        b_ub=np.concatenate([residual, -residual]) / unit,
        bounds=[*zip(low / unit, high / unit, strict=True), *[(0, None)] * count],
    )
    return None if found.x is None else np.clip(found.x[:size] * unit, low, high)
