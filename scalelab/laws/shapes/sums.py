"""Laws that are a sum of falling powers, with or without a constant: their shared algebra.

    L(x) = E + sum_k A_k x_k^-alpha_k

Internal coordinates theta = (E, ln A_1, alpha_1, ln A_2, alpha_2, ...), with ln A at the centre
of the logs, so that the coordinates are nearly uncorrelated and the size of x does not matter.
E itself, not its log, is a coordinate: E = 0 is then an ordinary point of the domain.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, Functional, Selection, nothing_derived

MAX_EXPONENT = 20.0
Bend = Callable[[Array], Array]
"""From weights (s, n) to the weighted sum of second derivatives (s, P, P)."""


@dataclass(frozen=True)
class PowerSum:
    """One law of this shape; `terms` holds (coefficient, exponent, column) of each power."""

    name: str
    formula: str
    latex: str
    source: str
    terms: tuple[tuple[str, str, str], ...]
    offset: str | None = None
    alternatives: tuple[str, ...] = ()
    fallback: str | None = None
    derive: Callable[[Mapping[str, Any]], dict[str, Any]] = nothing_derived
    rising: bool = False
    centred: bool = True
    by_request: bool = False
    select: Selection | None = None
    steady: tuple[str, ...] = ()
    start_exponents: tuple[float, ...] = (
        0.02,
        0.04,
        0.07,
        0.1,
        0.15,
        0.2,
        0.28,
        0.4,
        0.6,
        1.0,
        1.6,
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the x columns."""
        return tuple(column for _, _, column in self.terms)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the natural parameters, in the order of theta."""
        powers = [name for a, alpha, _ in self.terms for name in (a, alpha)]
        return ((self.offset,) if self.offset else ()) + tuple(powers)

    def _first(self) -> int:
        return 1 if self.offset else 0

    def _powers(self, theta: Array, u: Array, out: Array) -> None:
        """Write the falling powers into out (K, s, n)."""
        for k, power in enumerate(out):
            a = self._first() + 2 * k
            np.multiply(theta[:, a + 1, None], -u[..., k], out=power)
            power += theta[:, a, None]
            np.exp(power, out=power)

    def value(self, theta: Array, u: Array) -> Array:
        """Loss (s, n) at theta (s, P) and centred logs u (n, m) or (s, n, m)."""
        powers = np.empty((len(self.terms), len(theta), u.shape[-2]))
        self._powers(theta, u, powers)
        return powers.sum(0) + theta[:, :1] if self.offset else powers.sum(0)

    def expand(self, theta: Array, u: Array) -> tuple[Array, Array, Bend]:
        """Loss (s, n), its derivatives by theta (s, n, P), and `curvature` here by the weights.

        The derivatives lie in memory as (s, P, n), so that each is one stretch.
        """
        slopes, first = np.empty((len(theta), theta.shape[1], u.shape[-2])), self._first()
        powers = slopes[:, first::2].swapaxes(0, 1)
        self._powers(theta, u, powers)
        for k, power in enumerate(powers):
            np.multiply(power, -u[..., k], out=slopes[:, first + 2 * k + 1])
        loss = powers.sum(0)
        if self.offset:
            slopes[:, 0] = 1.0
            loss += theta[:, :1]
        return loss, slopes.swapaxes(1, 2), functools.partial(self._curvature, slopes, u)

    def _curvature(self, slopes: Array, u: Array, weights: Array) -> Array:
        """From the slopes (s, P, n): by ln A, each is its own derivative."""
        result = np.zeros((len(slopes), slopes.shape[1], slopes.shape[1]))
        once = np.matmul(slopes, weights[..., None])[..., 0]
        for k in range(len(self.terms)):
            a = self._first() + 2 * k
            result[:, a, a] = once[:, a]
            result[:, a, a + 1] = result[:, a + 1, a] = once[:, a + 1]
            result[:, a + 1, a + 1] = np.vecdot(slopes[:, a + 1], weights * -u[..., k])
        return result

    def gradient(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Loss (s, n) and its derivatives by theta (s, n, P)."""
        loss, slopes, _ = self.expand(theta, u)
        return loss, slopes

    def curvature(self, theta: Array, u: Array, weights: Array) -> Array:
        """Weighted sum over points of the second derivatives of the loss: (s, P, P)."""
        return self.expand(theta, u)[2](weights)

    def starts(self, u: Array, loss: Array) -> Array:
        """A grid over the exponents; the linear coefficients by relative least squares.

        That is variable projection (Golub and Pereyra 1973) for the start only: the residuals of
        log loss are nearly the relative ones, in which the coefficients are linear.
        """
        grid = np.array(list(itertools.product(self.start_exponents, repeat=len(self.terms))))
        first = self._first()
        basis = np.empty((len(grid), len(loss), first + len(self.terms)))
        if self.offset:
            basis[..., 0] = 1 / loss
        for k in range(len(self.terms)):
            basis[..., first + k] = np.exp(-grid[:, k, None] * u[:, k]) / loss
        gram = np.einsum("snp,snq->spq", basis, basis)
        gram += 1e-10 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(gram.shape[1])
        linear = np.linalg.solve(gram, basis.sum(1)[..., None])[..., 0]
        theta = np.empty((len(grid), first + 2 * len(self.terms)))
        # A coefficient that comes out negative starts small and positive instead.
        linear = np.maximum(linear, 0.01)
        if self.offset:
            theta[:, 0] = linear[:, 0]
        theta[:, first::2] = np.log(linear[:, first:])
        theta[:, first + 1 :: 2] = grid
        return theta

    def bounds(self, u: Array) -> tuple[Array, Array]:
        """E >= 0, exponents between 0 and 20, ln A free."""
        lower = [0.0] if self.offset else []
        upper = [np.inf] if self.offset else []
        for _ in self.terms:
            lower += [-np.inf, 0.0]
            upper += [np.inf, MAX_EXPONENT]
        return np.array(lower), np.array(upper)

    def functional(self, parameter: str, centre: Array, log_scale: float) -> Functional:
        """E and exponents are linear in theta; ln A = theta + alpha * centre + log_scale."""
        place = self.parameters.index(parameter)
        coefficients = np.zeros(len(self.parameters))
        if parameter == self.offset:
            coefficients[place] = np.exp(log_scale)
            return Functional(coefficients, 0.0, False, 0.0)
        coefficients[place] = 1.0
        term, is_exponent = divmod(place - self._first(), 2)
        if is_exponent:
            return Functional(coefficients, 0.0, False, 0.0)
        coefficients[place + 1] = centre[term]
        return Functional(coefficients, log_scale, True, 0.0)

    def theta(self, params: Mapping[str, float]) -> Array:
        """Internal coordinates of natural parameters (centre 0, scale 1)."""
        coefficients = {name for name, _, _ in self.terms}
        return np.array(
            [np.log(params[p]) if p in coefficients else params[p] for p in self.parameters]
        )

    def derived(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Quantities that follow from the parameters."""
        return self.derive(params)
