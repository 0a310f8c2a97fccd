"""Newton's method with bounds, for many starting points or many data sets in one NumPy batch.

The Hessian is the full one; its eigenvalues are made positive, and a Levenberg damping grows
after a step that does not lower the objective. A start has converged when the Newton decrement
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
LONGEST_STEP = 1.0


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
    max_iterations: int = 200,
    done: float = DONE,
) -> Solution:
    """Minimise from every row of `start` (S, P) between `lower` and `upper`, each (P,).

    A start rests once its Newton decrement is below `done` times the objective.
    """
    theta = np.clip(np.array(start, dtype=float), lower, upper)
    count = len(theta)
    everyone = np.arange(count)
    value, gradient, hessian = objective(theta, everyone)
    damping = np.zeros(count)
    decrement = np.full(count, np.inf)
    live = np.flatnonzero(np.isfinite(value))
    iteration = 0
    while len(live) and iteration < max_iterations:
        iteration += 1
        here, slope = theta[live], gradient[live]
        blocked = _blocked(here, slope, lower, upper)
        step, decrement[live] = _newton(slope, hessian[live], blocked, damping[live])
        moving = decrement[live] > done * value[live] + 1e-33
        live, here, step = live[moving], here[moving], step[moving]
        if not len(live):
            break
        trial = np.clip(here + step, lower, upper)
        new_value, new_gradient, new_hessian = objective(trial, live)
        better = new_value < value[live]
        won, lost = live[better], live[~better]
        theta[won], value[won] = trial[better], new_value[better]
        gradient[won], hessian[won] = new_gradient[better], new_hessian[better]
        damping[won] = np.where(damping[won] > 1e-6, damping[won] / 10, 0.0)
        damping[lost] = np.maximum(damping[lost] * 10, 1e-4)
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


def _newton(
    gradient: Array, hessian: Array, blocked: np.ndarray, damping: Array
) -> tuple[Array, Array]:
    """Damped Newton steps (s, P) over the free coordinates, and undamped decrements (s,)."""
    slope = np.where(blocked, 0.0, gradient)
    free = ~blocked
    matrix = np.where(free[:, :, None] & free[:, None, :], hessian, 0.0)
    values, vectors = np.linalg.eigh(matrix)
    size = np.abs(values)
    largest = size.max(1, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    size = np.maximum(size, 1e-14 * largest)
    along = np.einsum("spk,sp->sk", vectors, slope)
    decrement = (along**2 / size).sum(1)
    step = -np.einsum("spk,sk->sp", vectors, along / (size + damping[:, None] * largest))
    longest = np.abs(step).max(1, keepdims=True)
    return step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, LONGEST_STEP)), decrement
