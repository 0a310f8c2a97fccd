"""Smoothly broken power laws: L = a + b x^-c0 (1 + (x/d1)^(1/f1))^(-c1 f1) ...

Caballero et al. 2022 (arXiv:2210.14891), equation 1, with one, two or three breaks. Below the
first break the exponent is c0; break i, at x = d_i, adds c_i to it, and f_i says how gently: nine
tenths of the turn happen while x grows by a factor exp(5.9 f_i). Breaks lie inside the data, since
one outside is no more than another exponent.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, register
from scalelab.laws.shapes.sums import MAX_EXPONENT
from scalelab.laws.shapes.written import Parameter, WrittenLaw

FLOORS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.97, 0.99)
"""Shares of the least loss that a start takes for a."""
WIDTHS = (0.01, 0.05, 0.15)
"""Widths of a break that a start tries, as shares of the span of ln x."""
PLACES = {1: 15, 2: 9, 3: 8}
"""Places of a break that a start tries, by the number of breaks."""


def _loss(breaks: int, p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    log_x = np.log(x["N"])
    log_rest = np.log(p["b"]) - p["c0"] * log_x
    for i in range(1, breaks + 1):
        width = p[f"f{i}"]
        turn = np.logaddexp(0.0, (log_x - np.log(p[f"d{i}"])) / width)
        log_rest = log_rest - p[f"c{i}"] * (width * turn)
    return p["a"] + np.exp(log_rest)


def _guesses(breaks: int, x: Mapping[str, Array], y: Array) -> Array:
    """A grid over floor, places and width; ln b and the exponents by weighted least squares."""
    log_x = np.log(x["N"])
    places = np.quantile(log_x, np.linspace(0, 1, PLACES[breaks] + 2)[1:-1])
    span, rows = log_x.max() - log_x.min(), []
    for share, width in itertools.product(FLOORS, WIDTHS):
        floor, f = share * y.min(), width * span
        # d ln(y - a) = d ln y * y / (y - a): residuals of log loss, not of its reducible part.
        weight = (y - floor) / y
        turns = f * np.logaddexp(0.0, (log_x[:, None] - places) / f)
        for chosen in itertools.combinations(range(len(places)), breaks):
            basis = np.column_stack([np.ones(len(y)), -log_x, -turns[:, list(chosen)]])
            linear = np.linalg.lstsq(
                basis * weight[:, None], np.log(y - floor) * weight, rcond=None
            )[0]
            one = [floor, np.exp(linear[0]), linear[1]]
            for place, c in zip(chosen, linear[2:], strict=True):
                one += [c, np.exp(places[place]), f]
            rows.append(one)
    return np.array(rows)


def _own_bounds(breaks: int, x: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Each break between the smallest and the largest x, no smoother than their span."""
    low, high = float(x["N"].min()), float(x["N"].max())
    span = float(np.log(high / low)) or 1.0
    ends: dict[str, tuple[float, float]] = {}
    for i in range(1, breaks + 1):
        ends |= {f"d{i}": (low, high), f"f{i}": (1e-4 * span, span)}
    return ends


def _derive(breaks: int, params: Mapping[str, Any]) -> dict[str, Any]:
    """The exponent beyond the last break."""
    return {"last_exponent": sum((params[f"c{i}"] for i in range(1, breaks + 1)), params["c0"])}


def _natural(breaks: int) -> tuple[Parameter, ...]:
    parameters = [
        Parameter("a", 0.0),
        Parameter("b", log=True),
        Parameter("c0", -MAX_EXPONENT, MAX_EXPONENT),
    ]
    for i in range(1, breaks + 1):
        parameters += [
            Parameter(f"c{i}", -MAX_EXPONENT, MAX_EXPONENT),
            Parameter(f"d{i}", log=True),
            Parameter(f"f{i}", log=True),
        ]
    return tuple(parameters)


for _breaks in (1, 2, 3):
    _each = range(1, _breaks + 1)
    register(
        WrittenLaw(
            name=f"broken_{_breaks}",
            formula="L = a + b {x}^-c0"
            + "".join(f" (1 + ({{x}}/d{i})^(1/f{i}))^(-c{i} f{i})" for i in _each),
            latex=r"L = a + b\,{x}^{{-c_0}}"
            + "".join(
                rf" \left(1 + ({{x}}/d_{i})^{{{{1/f_{i}}}}}\right)^{{{{-c_{i} f_{i}}}}}"
                for i in _each
            ),
            source="Caballero et al. 2022 (arXiv:2210.14891), equation 1",
            columns=("N",),
            natural=_natural(_breaks),
            loss=functools.partial(_loss, _breaks),
            guesses=functools.partial(_guesses, _breaks),
            offset="a",
            alternatives=("power_offset",),
            by_request=_breaks > 1,
            derive=functools.partial(_derive, _breaks),
            own_bounds=functools.partial(_own_bounds, _breaks),
        )
    )
