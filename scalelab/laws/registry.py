"""The laws that can be fitted: what a form must offer, and the registry that finds them.

A law is one file in `scalelab/laws/forms/`; it calls `register` when imported. Estimation,
intervals, tables and tests ask the registry and never name a law.
"""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scalelab.errors import UserError

Array = NDArray[np.float64]


Selection = Callable[[Array, Array], np.ndarray]


@dataclass(frozen=True)
class Functional:
    """A natural parameter as a function of the internal ones: coefficients . theta + constant.

    `exponentiate` says that the natural value is exp of that sum. `lower` is the end of the
    natural parameter's domain.
    """

    coefficients: Array
    constant: float
    exponentiate: bool
    lower: float

    def natural(self, theta: Array) -> Array:
        """Natural value at theta (..., P) -> (...)."""
        value = theta @ self.coefficients + self.constant
        return np.exp(value) if self.exponentiate else value


class Form(Protocol):
    """What a law offers to the estimator.

    `alternatives` are laws of the same x to compare with; `fallback` is the law of the first
    column alone, fitted when the columns turn out to be one variable.

    Internal coordinates: `u` are natural logs of the x columns minus a centre, (n, m) or
    (s, n, m); losses are divided by their geometric mean (neither where `centred` is false).
    `theta` is a batch (s, P).
    """

    @property
    def name(self) -> str:
        """Its name in the registry."""

    @property
    def formula(self) -> str:
        """Plain text, with {x} (and {x2}) for the columns."""

    @property
    def latex(self) -> str:
        """LaTeX, with the same fields."""

    @property
    def source(self) -> str:
        """Paper and equation."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The usual x columns."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Natural parameters, in the order of theta."""

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Laws of the same x."""

    @property
    def fallback(self) -> str | None:
        """The law of the first column alone."""

    @property
    def offset(self) -> str | None:
        """The parameter that is the floor of the loss."""

    @property
    def rising(self) -> bool:
        """Whether y grows with x (an error with the loss) instead of falling."""

    @property
    def steady(self) -> tuple[str, ...]:
        """Those of its columns that may hold one value in all rows."""

    @property
    def select(self) -> Selection | None:
        """From x (n, m) and log losses (n,) to the mask (n,) of the points that the law is of."""

    @property
    def by_request(self) -> bool:
        """Whether a comparison of all laws leaves it out until it is named."""

    @property
    def centred(self) -> bool:
        """Whether the law is moved and scaled for the solver; else u are plain logs of x."""

    def value(self, theta: Array, u: Array) -> Array:
        """Loss (s, n)."""

    def gradient(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Loss (s, n) and its derivatives by theta (s, n, P)."""

    def curvature(self, theta: Array, u: Array, weights: Array) -> Array:
        """Sum over the n points of weights (s, n) times the second derivatives: (s, P, P)."""

    def starts(self, u: Array, loss: Array) -> Array:
        """Dense grid of starting points (S, P) for centred logs (n, m) and losses (n,)."""

    def bounds(self, u: Array) -> tuple[Array, Array]:
        """Lower and upper bounds of theta, each (P,), for points at logs u (n, m)."""

    def functional(self, parameter: str, centre: Array, log_scale: float) -> Functional:
        """The natural parameter, for logs centred at `centre` (m,) and losses / exp(log_scale)."""

    def theta(self, params: Mapping[str, float]) -> Array:
        """Internal coordinates (P,) of natural parameters, with centre 0 and scale 1."""

    def derived(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Quantities that follow from the parameters, each with a name that says its unit.

        In NumPy functions alone, so that intervals can be had by giving jets for numbers.
        """


def nothing_derived(params: Mapping[str, Any]) -> dict[str, Any]:
    """For a law with no quantity that follows from its parameters."""
    return {}


_FORMS: dict[str, Form] = {}


def register(form: Form) -> Form:
    """Add a law to the registry; a second law of one name is a programming error."""
    if form.name in _FORMS:
        raise ValueError(f"two laws are called {form.name}")
    _FORMS[form.name] = form
    return form


@functools.cache
def discover() -> tuple[str, ...]:
    """Import every module of `forms/` once and return the names of the laws, sorted."""
    package = importlib.import_module("scalelab.laws.forms")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return tuple(sorted(_FORMS))


def get(name: str) -> Form:
    """The law of that name; an unknown name is a `UserError` that suggests the near one."""
    names = discover()
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f", did you mean {near[0]!r}" if near else ""
        raise UserError(f"law {name!r} is unknown{hint}: expected one of {', '.join(names)}")
    return _FORMS[name]


def natural(form: Form, theta: Array, centre: Array, log_scale: float) -> dict[str, float]:
    """Natural parameters of one internal vector (P,)."""
    return {
        name: float(form.functional(name, centre, log_scale).natural(theta))
        for name in form.parameters
    }
