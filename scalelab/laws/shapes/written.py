"""Laws written as their formula: derivatives come from `scalelab.laws.shapes.jets`.

For any law that is no sum of powers. x and the parameters are natural values here, not centred
ones, since such a law may compare x with a parameter or one x with another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, Form, Functional, Selection, nothing_derived
from scalelab.laws.shapes.jets import Jet, variables

Loss = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

SHORTLIST = 32
"""Starts that are taken of a law's dense grid where few are wanted."""


@dataclass(frozen=True)
class Parameter:
    """A natural parameter. In log space it is positive and `low`, `high` still are natural ends."""

    name: str
    low: float = -np.inf
    high: float = np.inf
    log: bool = False

    def internal(self, value: Any) -> Any:
        """Natural value(s) to the coordinate that the solver moves."""
        with np.errstate(divide="ignore"):
            return np.log(value) if self.log else np.asarray(value, float)


@dataclass(frozen=True)
class WrittenLaw:
    """One law. `loss(p, x)` gives the loss from {parameter: value} and {column: (n,) values}.

    `guesses(x, y)`: {column: (n,)} and losses (n,) to a dense grid of natural starting points
    (S, P). `rising`: y grows with x. `own_bounds(x)`: {parameter: (low, high)} that depend on the
    data. `steady`: columns that may hold one value in all rows.
    """

    name: str
    formula: str
    latex: str
    source: str
    columns: tuple[str, ...]
    natural: tuple[Parameter, ...]
    loss: Loss
    guesses: Callable[[Mapping[str, Array], Array], Array]
    offset: str | None = None
    rising: bool = False
    alternatives: tuple[str, ...] = ()
    fallback: str | None = None
    derive: Callable[[Mapping[str, Any]], dict[str, Any]] = nothing_derived
    own_bounds: Callable[[Mapping[str, Array]], dict[str, tuple[float, float]]] | None = None
    centred: bool = False
    by_request: bool = False
    select: Selection | None = None
    steady: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the natural parameters, in the order of theta."""
        return tuple(one.name for one in self.natural)

    def _x(self, u: Array) -> dict[str, Array]:
        return {column: np.exp(u[..., k]) for k, column in enumerate(self.columns)}

    def _jet(self, theta: Array, u: Array, slopes_only: bool) -> Jet:
        functionals = [self.functional(name, np.zeros(0), 0.0) for name in self.parameters]
        p = dict(zip(self.parameters, variables(theta, functionals, slopes_only), strict=True))
        return self.loss(p, self._x(u))

    def value(self, theta: Array, u: Array) -> Array:
        """Loss (s, n) at theta (s, P) and logs of x (n, m) or (s, n, m)."""
        p = {
            one.name: np.exp(theta[:, k, None]) if one.log else theta[:, k, None]
            for k, one in enumerate(self.natural)
        }
        return np.broadcast_to(self.loss(p, self._x(u)), (len(theta), u.shape[-2]))

    def gradient(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Loss (s, n) and its derivatives by theta (s, n, P)."""
        jet = self._jet(theta, u, slopes_only=True)
        shape = (len(theta), u.shape[-2])
        return (
            np.broadcast_to(jet.value, shape),
            np.broadcast_to(jet.slope, (*shape, theta.shape[1])),
        )

    def curvature(self, theta: Array, u: Array, weights: Array) -> Array:
        """Weighted sum over points of the second derivatives of the loss: (s, P, P)."""
        bend = self._jet(theta, u, slopes_only=False).bend
        bend = np.broadcast_to(bend, (*weights.shape, *bend.shape[-2:]))
        return np.einsum("sn,snpq->spq", weights, bend)

    def dense_starts(self, u: Array, loss: Array) -> Array:
        """The whole grid of starting points (S, P)."""
        natural = self.guesses(self._x(u), loss)
        return np.stack([p.internal(natural[:, k]) for k, p in enumerate(self.natural)], axis=1)

    def starts(self, u: Array, loss: Array) -> Array:
        """The best points of the grid (S, P)."""
        return shortlist(self, self.dense_starts(u, loss), u, loss)

    def bounds(self, u: Array) -> tuple[Array, Array]:
        """Lower and upper bounds of theta, each (P,)."""
        ends = {one.name: (one.low, one.high) for one in self.natural}
        if self.own_bounds:
            ends |= self.own_bounds(self._x(u))
        pairs = [
            [one.internal(max(e, 0.0)) if one.log else e for e in ends[one.name]]
            for one in self.natural
        ]
        return np.array([low for low, _ in pairs], float), np.array([h for _, h in pairs], float)

    def functional(self, parameter: str, centre: Array, log_scale: float) -> Functional:
        """Each parameter is its own coordinate, or the exponential of it."""
        place = self.parameters.index(parameter)
        one = self.natural[place]
        coefficients = np.zeros(len(self.natural))
        coefficients[place] = 1.0
        return Functional(coefficients, 0.0, one.log, max(one.low, 0.0) if one.log else one.low)

    def theta(self, params: Mapping[str, float]) -> Array:
        """Internal coordinates of natural parameters."""
        return np.array([float(one.internal(params[one.name])) for one in self.natural])

    def derived(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Quantities that follow from the parameters."""
        return self.derive(params)


def shortlist(form: Form, starts: Array, u: Array, loss: Array, most: int = SHORTLIST) -> Array:
    """The `most` of the starts (S, P) with the smallest squares of log residuals.

    Newton's method costs hundreds of times as much as a look at the objective.
    """
    starts = np.clip(starts, *form.bounds(u))
    with np.errstate(all="ignore"):
        squares = ((np.log(form.value(starts, u)) - np.log(loss)) ** 2).sum(1)
    usable = np.flatnonzero(np.isfinite(squares))
    return starts[usable[np.argsort(squares[usable], kind="stable")[:most]]]
