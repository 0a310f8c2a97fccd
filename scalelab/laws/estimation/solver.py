"""Newton's method with bounds, for many starting points or many data sets in one NumPy batch.

The Hessian is the full one. Where it is not positive definite its eigenvalues are made positive;
a Levenberg damping follows the ratio of attained to predicted gain. A step need only end below the
highest of the last few objectives (Grippo, Lampariello and Lucidi 1986, SIAM J. Numer. Anal.
23(4)): steps that must descend each time are short along the curved valleys of these laws, where
the floor trades against the exponents. A start has converged when the Newton decrement
g' |H|^-1 g is negligible beside the objective: multiplying the objective by a constant changes
neither the path nor the verdict. Bounds by projection with an active set (Bertsekas 1982,
SIAM J. Control Optim. 20(2), "Projected Newton methods").
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalelab.laws.registry import Array

# (theta (s, P), which entries of the batch they are (s,)) -> objective, gradient, Hessian
Objective = Callable[[Array, np.ndarray], tuple[Array, Array, Array]]

DONE = 1e-18
GOOD = 1e-10
LONGEST_STEP = 2.0
MEMORY = 8
DEFINITE = 1e-10
"""Smallest pivot of a matrix that is taken as positive definite, relative to its diagonal."""


@dataclass(frozen=True)
class Solution:
    """One row a start: theta (S, P), objective (S,), norm of the projected gradient (S,)."""

    theta: Array
    value: Array
    gradient_norm: Array
    converged: np.ndarray
    iterations: int


def minimise(
    objective: Objective,
    start: Array,
    lower: Array,
    upper: Array,
    max_iterations: int = 500,
    done: float = DONE,
) -> Solution:
    """Minimise from every row of `start` (S, P) between `lower` and `upper`, each (P,).

    A start rests once its Newton decrement is below `done` times the objective.
    """
    theta = np.clip(np.array(start, dtype=float), lower, upper)
    count = len(theta)
    value, gradient, hessian = objective(theta, np.arange(count))
    recent = np.repeat(value[None], MEMORY, axis=0)
    damping = np.zeros(count)
    decrement = np.full(count, np.inf)
    live = np.flatnonzero(np.isfinite(value))
    iteration = 0
    while len(live) and iteration < max_iterations:
        iteration += 1
        blocked = _blocked(theta[live], gradient[live], lower, upper)
        step, decrement[live] = _newton(gradient[live], hessian[live], blocked, damping[live])
        moving = decrement[live] > done * value[live] + 1e-33
        live, step = live[moving], step[moving]
        if not len(live):
            break
        trial = np.clip(theta[live] + step, lower, upper)
        new_value, new_gradient, new_hessian = objective(trial, live)
        promised = _promised(trial - theta[live], gradient[live], hessian[live])
        better = new_value < recent[:, live].max(0)
        damping[live] = _damping(damping[live], value[live] - new_value, promised, better)
        won = live[better]
        theta[won], value[won] = trial[better], new_value[better]
        gradient[won], hessian[won] = new_gradient[better], new_hessian[better]
        recent[iteration % MEMORY, won] = new_value[better]
        # No step lowers the objective any more: rounding, or a kink; the decrement is the judge.
        live = live[damping[live] < 1e8]
    free = np.where(_blocked(theta, gradient, lower, upper), 0.0, gradient)
    return Solution(
        theta=theta,
        value=value,
        gradient_norm=np.sqrt((free**2).sum(1)),
        converged=np.isfinite(value) & (decrement <= GOOD * value + 1e-30),
        iterations=iteration,
    )


def _blocked(theta: Array, gradient: Array, lower: Array, upper: Array) -> np.ndarray:
    return ((theta <= lower) & (gradient > 0)) | ((theta >= upper) & (gradient < 0))


def _promised(step: Array, gradient: Array, hessian: Array) -> Array:
    """By how much the quadratic model falls along each step (s, P)."""
    return -(step * (gradient + np.matmul(hessian, step[..., None])[..., 0] / 2)).sum(1)


def _damping(old: Array, gain: Array, promised: Array, better: np.ndarray) -> Array:
    """Less damping where the model kept half its promise, more where it kept under a tenth."""
    less = np.where(old > 1e-6, old / 5, 0.0)
    more = np.maximum(old * 10, 1e-4)
    new = np.where(gain > promised / 2, less, old)
    return np.where(better & (gain >= promised / 10), new, more)


def _newton(
    gradient: Array, hessian: Array, blocked: np.ndarray, damping: Array
) -> tuple[Array, Array]:
    """Damped Newton steps (s, P) over the free coordinates, and undamped decrements (s,).

    Damping is relative to each coordinate's own curvature (Marquardt 1963). Measured by the
    steepest one it would hold the others still: A and alpha, where nearly all of the loss is E.
    """
    slope, matrix = gradient.copy(), hessian.copy()
    diagonal = np.einsum("spp->sp", matrix)
    largest = diagonal.max(1, keepdims=True)
    if blocked.any():
        slope[blocked] = 0.0
        matrix[blocked[:, :, None] | blocked[:, None, :]] = 0.0
        diagonal += blocked * largest
    step, definite = _eliminate(matrix, slope)
    decrement = (step * slope).sum(1)
    if not definite.all():
        odd = ~definite
        step[odd], decrement[odd] = _by_eigenvalues(matrix[odd], slope[odd], damping[odd])
    damped = definite & (damping > 0)
    if damped.any():
        diagonal += damping[:, None] * diagonal
        step[damped] = _eliminate(matrix[damped], slope[damped])[0]
    longest = np.abs(step).max(1, keepdims=True)
    return step * -np.minimum(1.0, LONGEST_STEP / np.maximum(longest, LONGEST_STEP)), decrement


def _eliminate(matrix: Array, right: Array) -> tuple[Array, np.ndarray]:
    """Solutions (s, P) of symmetric systems whose matrices are positive definite, and which are.

    Gauss and Jordan's elimination without pivoting, each operation on the whole batch at once.
    """
    size = right.shape[1]
    rows = np.empty((size, size + 1, len(right)))
    rows[:, :size], rows[:, size] = matrix.transpose(1, 2, 0), right.T
    pivots = np.empty((size, len(right)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for k in range(size):
            pivots[k] = rows[k, k]
            factor = rows[:, k] / pivots[k]
            factor[k] = 0.0
            rows[:, k + 1 :] -= factor[:, None] * rows[k, k + 1 :]
        answer = rows[:, size] / pivots
    definite = (pivots > DEFINITE * np.einsum("spp->ps", matrix)).all(0)
    return np.where(definite, answer, 0.0).T, definite


def _by_eigenvalues(matrix: Array, slope: Array, damping: Array) -> tuple[Array, Array]:
    """Solutions (s, P) with the sizes of the eigenvalues plus damping, decrements without it.

    Of the matrix whose coordinates are scaled to a diagonal of 1, for the reason that `_newton`
    gives; a coordinate without curvature is scaled by a tiny part of the largest one.
    """
    unit = np.sqrt(np.abs(np.einsum("spp->sp", matrix)))
    unit = np.maximum(unit, 1e-10 * unit.max(1, keepdims=True))
    unit = np.where(unit > 0, unit, 1.0)
    values, vectors = np.linalg.eigh(matrix / (unit[:, :, None] * unit[:, None, :]))
    size = np.abs(values)
    largest = size.max(1, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    size = np.maximum(size, 1e-14 * largest)
    along = np.matmul((slope / unit)[:, None], vectors)[:, 0]
    scaled = along / (size + damping[:, None] * largest)
    step = np.matmul(vectors, scaled[..., None])[..., 0] / unit
    return step, (along**2 / size).sum(1)
