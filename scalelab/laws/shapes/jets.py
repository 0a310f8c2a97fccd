"""Values that carry their exact first and second derivatives, so that a law is only its formula.

A `Jet` answers NumPy's functions and operators, so one function written with np.exp, np.log and
arithmetic gives numbers for numbers, and derivatives for jets. Rules of differentiation to second
order: Griewank and Walther 2008, "Evaluating Derivatives", chapter 3 and section 13.1. The usual
automatic-differentiation packages bring a compiler or take seconds to load; a law has six
parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from scalelab.laws.registry import Array, Functional

Unary = Callable[[Array], tuple[Array, Array, Array | None]]
"""f, f' and f'' at a value; None for a second derivative that is nought."""


class Jet(NDArrayOperatorsMixin):
    """A quantity with its derivatives by the K of `size` coordinates of theta that it depends on.

    value (...), first (..., K), second (..., K, K), or None where only slopes are wanted; `over`
    holds the places of those coordinates. A part of a law often depends on one or two of them.
    """

    def __init__(
        self, value: Array, first: Array, second: Array | None, over: tuple[int, ...], size: int
    ) -> None:
        self.value, self.first, self.second, self.over, self.size = value, first, second, over, size

    @property
    def slope(self) -> Array:
        """First derivatives by all coordinates (..., size)."""
        return _spread(self, tuple(range(self.size))).first

    @property
    def bend(self) -> Array:
        """Second derivatives by all coordinates (..., size, size)."""
        second = _spread(self, tuple(range(self.size))).second
        if second is None:
            raise ValueError("this jet carries first derivatives alone")
        return second

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        """The function applied to jets; a function without a rule is a TypeError."""
        if method != "__call__" or keywords:
            return NotImplemented
        if ufunc in _UNARY:
            return _apply(inputs[0], *_UNARY[ufunc](inputs[0].value))
        if ufunc in _BINARY:
            return _BINARY[ufunc](*inputs)
        return NotImplemented


def variables(theta: Array, functionals: Sequence[Functional], slopes_only: bool = False) -> list:
    """The natural parameters at theta (S, P) as jets of shape (S, 1)."""
    result = []
    for one in functionals:
        over = tuple(int(place) for place in np.flatnonzero(one.coefficients))
        linear = Jet(
            (theta @ one.coefficients + one.constant)[:, None],
            one.coefficients[None, None, list(over)],
            None if slopes_only else np.zeros((1, 1, len(over), len(over))),
            over,
            theta.shape[1],
        )
        result.append(np.exp(linear) if one.exponentiate else linear)
    return result


def _spread(jet: Jet, over: tuple[int, ...]) -> Jet:
    """The same jet over more coordinates: nought by those that it does not depend on."""
    if jet.over == over:
        return jet
    place = np.array([over.index(one) for one in jet.over], dtype=int)
    first = np.zeros((*jet.first.shape[:-1], len(over)))
    first[..., place] = jet.first
    second = None
    if jet.second is not None:
        second = np.zeros((*jet.second.shape[:-2], len(over), len(over)))
        second[..., place[:, None], place] = jet.second
    return Jet(jet.value, first, second, over, jet.size)


def _together(a: Jet, b: Jet) -> tuple[Jet, Jet]:
    over = tuple(sorted({*a.over, *b.over}))
    return _spread(a, over), _spread(b, over)


def _outer(a: Array, b: Array) -> Array:
    return a[..., :, None] * b[..., None, :]


def _apply(jet: Jet, value: Array, first: Array, second: Array | None) -> Jet:
    """f(jet) from f, f' and f'' at its value."""
    bend = None
    if jet.second is not None:
        bend = first[..., None, None] * jet.second
        if second is not None:
            bend = bend + second[..., None, None] * _outer(jet.first, jet.first)
    return Jet(value, first[..., None] * jet.first, bend, jet.over, jet.size)


def _exp(v: Array) -> tuple[Array, Array, Array]:
    e = np.exp(v)
    return e, e, e


def _log(v: Array) -> tuple[Array, Array, Array]:
    return np.log(v), 1 / v, -1 / v**2


def _expm1(v: Array) -> tuple[Array, Array, Array]:
    e = np.exp(v)
    return np.expm1(v), e, e


def _sqrt(v: Array) -> tuple[Array, Array, Array]:
    root = np.sqrt(v)
    return root, 0.5 / root, -0.25 / (v * root)


def _negative(v: Array) -> tuple[Array, Array, None]:
    return -v, -np.ones_like(v), None


def _reciprocal(v: Array) -> tuple[Array, Array, Array]:
    return 1 / v, -1 / v**2, 2 / v**3


def _softplus(v: Array) -> tuple[Array, Array, Array]:
    rise = np.exp(-np.logaddexp(0, -v))
    return np.logaddexp(0, v), rise, rise * (1 - rise)


def _add(a: Any, b: Any) -> Jet:
    if not isinstance(a, Jet):
        a, b = b, a
    if not isinstance(b, Jet):
        return Jet(a.value + b, a.first, a.second, a.over, a.size)
    a, b = _together(a, b)
    second = None if a.second is None else a.second + b.second
    return Jet(a.value + b.value, a.first + b.first, second, a.over, a.size)


def _multiply(a: Any, b: Any) -> Jet:
    if not isinstance(a, Jet):
        a, b = b, a
    if not isinstance(b, Jet):
        factor = np.asarray(b, float)
        return _apply(a, a.value * factor, factor, None)
    a, b = _together(a, b)
    x, y = a.value[..., None], b.value[..., None]
    second = None
    if a.second is not None:
        cross = _outer(a.first, b.first)
        second = x[..., None] * b.second + y[..., None] * a.second + cross + cross.swapaxes(-1, -2)
    return Jet(a.value * b.value, x * b.first + y * a.first, second, a.over, a.size)


def _subtract(a: Any, b: Any) -> Jet:
    return _add(a, -b)


def _divide(a: Any, b: Any) -> Jet:
    if not isinstance(b, Jet):
        return _multiply(a, 1 / np.asarray(b, float))
    return _multiply(a, _apply(b, *_reciprocal(b.value)))


def _power(a: Any, b: Any) -> Jet:
    """a^b; where b is a jet, by exp(b ln a), so a must be positive."""
    if isinstance(b, Jet):
        return np.exp(np.log(a) * b)
    v, n = a.value, np.asarray(b, float)
    return _apply(a, v**n, n * v ** (n - 1), n * (n - 1) * v ** (n - 2))


def _logaddexp(a: Any, b: Any) -> Jet:
    gap = _subtract(b, a)
    return _add(_apply(gap, *_softplus(gap.value)), a)


def _minimum(a: Any, b: Any) -> Jet:
    """The smaller one with its derivatives; at a tie, those of the first."""
    a, b = (v if isinstance(v, Jet) else _constant(v, a if v is b else b) for v in (a, b))
    a, b = _together(a, b)
    low = a.value <= b.value
    first = np.where(low[..., None], a.first, b.first)
    second = None if a.second is None else np.where(low[..., None, None], a.second, b.second)
    return Jet(np.where(low, a.value, b.value), first, second, a.over, a.size)


def _maximum(a: Any, b: Any) -> Jet:
    return -_minimum(-a, -b)


def _constant(value: Any, like: Jet) -> Jet:
    number = np.asarray(value, float)
    second = None if like.second is None else np.zeros((*number.shape, 0, 0))
    return Jet(number, np.zeros((*number.shape, 0)), second, (), like.size)


_UNARY: dict[np.ufunc, Unary] = {
    np.exp: _exp,
    np.log: _log,
    np.expm1: _expm1,
    np.sqrt: _sqrt,
    np.negative: _negative,
}
_BINARY: dict[np.ufunc, Callable[[Any, Any], Jet]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.logaddexp: _logaddexp,
    np.minimum: _minimum,
    np.maximum: _maximum,
}
