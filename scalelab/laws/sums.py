"""Laws that are a sum of falling powers, with or without a constant: their shared algebra.

    L(x) = E + sum_k A_k x_k^-alpha_k

Internal coordinates theta = (E, ln A_1, alpha_1, ln A_2, alpha_2, ...), with ln A at the centre
of the logs, so that the coordinates are nearly uncorrelated and the size of x does not matter.
E itself, not its log, is a coordinate: E = 0 is then an ordinary point of the domain.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scalelab.laws.registry import Array, Functional

MAX_EXPONENT = 20.0


def _nothing(params: Mapping[str, float]) -> dict[str, float]:
    return {}


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
    derive: Callable[[Mapping[str, float]], dict[str, float]] = _nothing
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

    def _powers(self, theta: Array, u: Array) -> list[Array]:
        first = self._first()
        return [
            np.exp(theta[:, first + 2 * k, None] - theta[:, first + 2 * k + 1, None] * u[..., k])
            for k in range(len(self.terms))
        ]

    def value(self, theta: Array, u: Array) -> Array:
        """Loss (s, n) at theta (s, P) and centred logs u (n, m) or (s, n, m)."""
        total = np.sum(self._powers(theta, u), axis=0)
        return total + theta[:, :1] if self.offset else total

    def gradient(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Loss (s, n) and its derivatives by theta (s, n, P)."""
        powers = self._powers(theta, u)
        slopes = np.empty((*powers[0].shape, theta.shape[1]))
        first = self._first()
        if self.offset:
            slopes[..., 0] = 1.0
        for k, power in enumerate(powers):
            slopes[..., first + 2 * k] = power
            slopes[..., first + 2 * k + 1] = -power * u[..., k]
        total = np.sum(powers, axis=0)
        return (total + theta[:, :1] if self.offset else total), slopes

    def curvature(self, theta: Array, u: Array, weights: Array) -> Array:
        """Weighted sum over points of the second derivatives of the loss: (s, P, P)."""
        size = theta.shape[1]
        result = np.zeros((len(theta), size, size))
        for k, power in enumerate(self._powers(theta, u)):
            a = self._first() + 2 * k
            once = weights * power
            slope = once * u[..., k]
            result[:, a, a] = once.sum(1)
            result[:, a, a + 1] = result[:, a + 1, a] = -slope.sum(1)
            result[:, a + 1, a + 1] = (slope * u[..., k]).sum(1)
        return result

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

    def bounds(self) -> tuple[Array, Array]:
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

    def derived(self, params: Mapping[str, float]) -> dict[str, float]:
        """Quantities that follow from the parameters."""
        return self.derive(params)
