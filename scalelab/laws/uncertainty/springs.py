"""Quantities with derivatives, and the objective with a spring on one of them.

A quantity is a natural parameter, the log loss at a point, or any function of the parameters.
Adding a stiff spring W/2 (g - v)^2 to the objective steers the quantity g towards v. Whatever v
and W, the minimum of that sum is the least objective for the g that it attains, so every solution
lies exactly on the profile of g.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array, Functional
from scalelab.laws.shapes.jets import Jet, variables

Quantity = Callable[..., Any]
"""From {natural parameter: value} to a value, in NumPy functions; with `Target.at`, from that and
a number."""


@dataclass(frozen=True)
class Target:
    """A quantity to profile: a natural parameter, the log loss at centred logs u (m,), or any
    function of the natural parameters, written in NumPy functions (see `laws.shapes.jets`).

    at: handed to `function` as well. Targets of one function are computed together, so a curve of
    many budgets costs little more than one of them.
    """

    functional: Functional | None = None
    u: Array | None = None
    function: Quantity | None = None
    at: float | None = None


@dataclass(frozen=True)
class Quantities:
    """The targets of a batch, one row each; functions come with their rows (s,) bool and, where
    they take one, the number of each row (s,)."""

    best: Estimate
    linear: Array
    constant: Array
    u: Array
    is_point: np.ndarray
    functions: tuple[tuple[Quantity, np.ndarray, Array | None], ...]

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """Value (s,), gradient (s, P) and Hessian (s, P, P) of those rows at theta (s, P)."""
        form = self.best.form
        value = (theta * self.linear[rows]).sum(1) + self.constant[rows]
        slope = self.linear[rows].copy()
        bend = np.zeros((*theta.shape, theta.shape[1]))
        points = self.is_point[rows]
        if points.any():
            some, u = theta[points], self.u[rows][points][:, None, :]
            loss, slopes = form.gradient(some, u)
            slopes = slopes[:, 0] / loss
            with np.errstate(invalid="ignore"):
                value[points] = np.log(loss[:, 0])
            slope[points] = slopes
            bend[points] = form.curvature(some, u, 1 / loss)
            bend[points] -= slopes[:, :, None] * slopes[:, None, :]
        for function, mine, at in self.functions:
            some = mine[rows]
            if some.any():
                more = () if at is None else (at[rows][some][:, None],)
                with np.errstate(all="ignore"):
                    jet = function(natural_jets(self.best, theta[some]), *more)
                value[some], slope[some], bend[some] = _flat(jet, int(some.sum()))
        return value, slope, bend


def quantities(best: Estimate, targets: Sequence[Target], times: int = 1) -> Quantities:
    """The targets, each repeated `times` times in a row."""
    count, size = len(targets), len(best.theta)
    linear, constant = np.zeros((count, size)), np.zeros(count)
    u, is_point = np.zeros((count, best.problem.u.shape[1])), np.zeros(count, bool)
    for row, target in enumerate(targets):
        if target.u is not None:
            is_point[row], u[row] = True, target.u
        elif target.functional is not None:
            linear[row] = target.functional.coefficients
            constant[row] = target.functional.constant
    linear, constant, u, is_point = (
        np.repeat(item, times, 0) for item in (linear, constant, u, is_point)
    )
    functions = tuple(_functions(targets, times))
    return Quantities(best, linear, constant, u, is_point, functions)


def _functions(
    targets: Sequence[Target], times: int
) -> Iterator[tuple[Quantity, np.ndarray, Array | None]]:
    """Each function once, with its rows and their numbers; without numbers it is another one."""
    keys = [(id(target.function), target.at is None) for target in targets]
    numbers = np.repeat([np.nan if t.at is None else t.at for t in targets], times)
    for key in dict.fromkeys(keys):
        first = targets[keys.index(key)]
        if first.function is not None:
            mine = np.repeat([other == key for other in keys], times)
            yield first.function, mine, None if first.at is None else numbers


def gradients(best: Estimate, targets: Sequence[Target]) -> Array:
    """Derivatives (T, P) of the targets by theta at the estimate."""
    theta = np.repeat(best.theta[None], len(targets), 0)
    return quantities(best, targets)(theta, np.arange(len(targets)))[1]


def natural_jets(best: Estimate, theta: Array) -> dict[str, Jet]:
    """The natural parameters at theta (s, P) with their derivatives, each of shape (s, 1)."""
    names = best.base.parameters
    return dict(zip(names, variables(theta, [best.functional(n) for n in names]), strict=True))


def _flat(jet: Jet, count: int) -> tuple[Array, Array, Array]:
    """Value (s,), slope (s, P), bend (s, P, P) of a jet of shape (s, 1)."""
    parts = (jet.value, jet.slope, jet.bend)
    value, slope, bend = (
        np.broadcast_to(part, (count, 1, *part.shape[2:]))[:, 0] for part in parts
    )
    return value, slope, bend


@dataclass(frozen=True)
class Spring:
    """The objective with one spring a batch entry: stiffness and aim (s,)."""

    quantity: Quantities
    stiffness: Array
    aim: Array

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """Objective (s,), gradient (s, P), Hessian (s, P, P) with the springs of those rows."""
        value, gradient, hessian = self.quantity.best.problem(theta, rows)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            quantity, slope, bend = self.quantity(theta, rows)
            stretch, stiff = quantity - self.aim[rows], self.stiffness[rows]
            value = value + stiff * stretch**2 / 2
            gradient = gradient + (stiff * stretch)[:, None] * slope
            hessian = hessian + stiff[:, None, None] * (
                slope[:, :, None] * slope[:, None, :] + stretch[:, None, None] * bend
            )
        bad = ~(
            np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2))
        )
        return (
            np.where(bad, np.inf, value),
            np.where(bad[:, None], 0.0, gradient),
            np.where(bad[:, None, None], 0.0, hessian),
        )
