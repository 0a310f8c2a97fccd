"""Each point left out in turn: the fit to all the others."""

import numpy as np

from scalelab.laws.estimation.estimate import Estimate, reweighted
from scalelab.laws.registry import Array

MOST_ANEW = 1_000
"""Points up to which each fit is made anew. Of more, none moves the others' fit by much."""


def without_each(best: Estimate) -> tuple[Array, Array]:
    """theta (n, P) and objective (n,) of the fit to all points but one, for each of the n.

    Made anew for up to MOST_ANEW points. For more it is one Newton step from the fit to all of
    them (Pregibon 1981, Annals of Statistics 9(4), section 4), which errs by the square of the
    shift; fits anew would take time and memory that grow as n^2.
    """
    count = len(best.problem.y)
    if count <= MOST_ANEW:
        found = reweighted(best, (1.0 - np.eye(count)) * best.problem.weights)
        return found.theta, found.value
    return one_step(best)


def one_step(best: Estimate) -> tuple[Array, Array]:
    """theta (n, P) and objective (n,) after one Newton step from the estimate without each point.

    Coordinates that rest on a bound stay there.
    """
    value, gradient, hessian = best.problem.of_points(best.theta)
    lower, upper = best.form.bounds(best.problem.u)
    free = (best.theta > lower) & (best.theta < upper)
    slope = (gradient.sum(0) - gradient)[:, free]
    bend = (hessian.sum(0) - hessian)[:, free][:, :, free]
    step = np.matmul(np.linalg.pinv(bend, hermitian=True), slope[..., None])[..., 0]
    theta = np.repeat(best.theta[None], len(value), 0)
    theta[:, free] -= step
    return np.clip(theta, lower, upper), value.sum() - value - (slope * step).sum(1) / 2
