"""A law with some parameters held at given values, or tied to one another.

Each constraint removes one coordinate: theta = matrix @ free + shift. Natural parameters are
linear in the coordinates, or exponentials of it, so fixing one or equating two is exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array, Form, Functional
from scalelab.laws.shapes.written import shortlist


@dataclass(frozen=True)
class Constraints:
    """fixed: {parameter: natural value}; tied: pairs of parameters that are one number."""

    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fixed or self.tied)

    def check(self, form: Form) -> None:
        """Raise `UserError` for a name that the law lacks, or a parameter constrained twice."""
        gone = [*self.fixed, *(second for _, second in self.tied)]
        for name in (*gone, *(first for first, _ in self.tied)):
            if name not in form.parameters:
                raise UserError(
                    f"{form.name} has no parameter {name!r} to fix or tie: it has "
                    f"{', '.join(form.parameters)}"
                )
        for name in gone:
            if gone.count(name) > 1:
                raise UserError(f"{name} is fixed or tied twice: once is expected")
        for first, second in self.tied:
            if first in gone:
                raise UserError(f"{second} is tied to {first}, which is itself fixed or tied")
        if len(gone) >= len(form.parameters):
            raise UserError(f"every parameter of {form.name} is fixed: nothing is left to fit")
        nowhere = np.zeros(len(form.columns))
        for name, value in self.fixed.items():
            part = form.functional(name, nowhere, 0.0)
            above = value > part.lower or (value == part.lower and name == form.offset)
            if not (np.isfinite(value) and above):
                raise UserError(
                    f"{name} is fixed at {value}: expected a number above {part.lower:g}"
                )

    def apply(self, form: Form, centre: Array, log_scale: float) -> Form:
        """The law with only its free coordinates, for logs centred there and scaled losses."""
        return constrained(form, self, centre, log_scale) if self else form


@dataclass(frozen=True)
class Constrained:
    """A law over its free coordinates (P_free,); all else is asked of `base` at the full ones."""

    base: Form
    matrix: Array
    shift: Array
    free: np.ndarray
    parameters: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        # Names, formula, columns and the rest are those of the law itself.
        if name.startswith("__") or name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def full(self, theta: Array) -> Array:
        """All coordinates (s, P) of free ones (s, P_free)."""
        return theta @ self.matrix.T + self.shift

    def value(self, theta: Array, u: Array) -> Array:
        """Loss (s, n)."""
        return self.base.value(self.full(theta), u)

    def gradient(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Loss (s, n) and its derivatives by the free coordinates (s, n, P_free)."""
        loss, slopes = self.base.gradient(self.full(theta), u)
        return loss, slopes @ self.matrix

    def curvature(self, theta: Array, u: Array, weights: Array) -> Array:
        """Weighted sum of second derivatives: (s, P_free, P_free)."""
        return self.matrix.T @ self.base.curvature(self.full(theta), u, weights) @ self.matrix

    def dense_starts(self, u: Array, loss: Array) -> Array:
        """The law's whole grid of starts without the coordinates that are gone."""
        dense = getattr(self.base, "dense_starts", self.base.starts)
        return np.unique(dense(u, loss)[:, self.free], axis=0)

    def starts(self, u: Array, loss: Array) -> Array:
        """The best of them, as many as the law itself offers."""
        starts = self.dense_starts(u, loss)
        return shortlist(self, starts, u, loss) if hasattr(self.base, "dense_starts") else starts

    def bounds(self, u: Array) -> tuple[Array, Array]:
        """Bounds of the free coordinates."""
        lower, upper = self.base.bounds(u)
        return lower[self.free], upper[self.free]

    def functional(self, parameter: str, centre: Array, log_scale: float) -> Functional:
        """The natural parameter over the free coordinates; a constant where it is fixed."""
        one = self.base.functional(parameter, centre, log_scale)
        return Functional(
            one.coefficients @ self.matrix,
            one.constant + float(one.coefficients @ self.shift),
            one.exponentiate,
            one.lower,
        )


def constrained(
    form: Form, constraints: Constraints, centre: Array, log_scale: float
) -> Constrained:
    """Eliminate one coordinate a constraint: the one that stands for the parameter that goes."""
    size = len(form.parameters)
    parts = {name: form.functional(name, centre, log_scale) for name in form.parameters}
    rows, right, gone = [], [], []
    for name, value in constraints.fixed.items():
        part = parts[name]
        rows.append(part.coefficients)
        right.append((np.log(value) if part.exponentiate else value) - part.constant)
        gone.append(form.parameters.index(name))
    for first, second in constraints.tied:
        a, b = parts[first], parts[second]
        if a.exponentiate != b.exponentiate:
            raise UserError(f"{first} and {second} are no like quantities and cannot be tied")
        rows.append(b.coefficients - a.coefficients)
        right.append(a.constant - b.constant)
        gone.append(form.parameters.index(second))
    free = np.setdiff1d(np.arange(size), gone)
    system = np.array(rows)
    inverse = np.linalg.inv(system[:, gone])
    matrix, shift = np.zeros((size, len(free))), np.zeros(size)
    matrix[free, np.arange(len(free))] = 1.0
    matrix[gone] = -inverse @ system[:, free]
    shift[gone] = inverse @ np.array(right)
    return Constrained(form, matrix, shift, free, form.parameters)
