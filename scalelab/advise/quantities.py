"""The quantities that a study is for: a parameter, an exponent, a loss or an optimum far out.

Written as text: `alpha`, `E`, `a` (the exponent of N_opt), `loss@N=1e9,D=2e10`, `N_opt@C=1e20`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array, Form
from scalelab.laws.runs.table import LARGE, NUMBER
from scalelab.laws.uncertainty.springs import Target

SHORT = {"a": "N_opt_exponent", "b": "D_opt_exponent"}
"""The names that papers have for what follows from a law of N and D."""
OPTIMA = {"N_opt": 1.0, "D_opt": -1.0}


@dataclass(frozen=True)
class Asked:
    """One quantity. kind: parameter, derived, loss or optimum; `at` are the x that it is at.

    factor: whether its half-width is of the natural log (a coefficient, N_opt), so that 0.1 is
    about 10%. Others have it in their own unit: a pure number, or nats for a loss.
    """

    text: str
    kind: str
    name: str
    at: Mapping[str, float]
    factor: bool

    @property
    def unit(self) -> str:
        """What the half-width is in."""
        return "ln" if self.factor else "nats" if self.kind == "loss" or self.name == "E" else ""

    def target(self, best: Estimate) -> Target:
        """What is profiled for it, in a scale of its own; `natural` undoes that scale."""
        form = best.base
        if self.kind == "parameter":
            return Target(functional=best.functional(self.name))
        if self.kind == "loss":
            x = np.array([[self.at[column] for column in form.columns]])
            return Target(u=best.centred(x)[0])
        if self.kind == "derived":
            return Target(function=lambda p: form.derived(p)[self.name])
        sign, cost = OPTIMA[self.name], math.log(self.at["C"] / 6)

        def log_optimum(p: Mapping[str, Any]) -> Any:
            # N_opt = G (C/6)^a and D_opt = (C/6)^b / G: Hoffmann et al. 2022, equation 4.
            found = form.derived(p)
            return sign * np.log(found["G"]) + found[f"{self.name}_exponent"] * cost

        return Target(function=log_optimum)

    def value(self, best: Estimate) -> float:
        """Its value at an estimate, as it is reported."""
        target = self.target(best)
        if target.functional is not None:
            return float(target.functional.natural(best.theta))
        if target.u is not None:
            return float(np.exp(best.log_loss(target.u[None])[0]))
        with np.errstate(all="ignore"):
            found = float(target.function({k: np.float64(v) for k, v in best.params.items()}))  # type: ignore[misc]
        return math.exp(found) if self.kind == "optimum" else found

    def natural(self, best: Estimate, own: Array) -> Array:
        """Values in the scale of `target` (...) as they are reported."""
        with np.errstate(over="ignore"):
            if self.kind == "loss":
                return np.exp(own + best.log_scale)
            return np.exp(own) if self.factor else own

    def half_width(self, ends: Array) -> Array:
        """Half-widths (...) of natural ends (..., 2); infinite for an open end."""
        with np.errstate(all="ignore"):
            scaled = np.log(np.maximum(ends, 0.0)) if self.factor else ends
            half = (scaled[..., 1] - scaled[..., 0]) / 2
        return np.where(np.isfinite(half), half, np.inf)

    def from_own(self, value: float, half: Array) -> Array:
        """Half-widths as reported from those of the delta method in the scale of `target`."""
        return value * half if self.kind == "loss" else half


def parse(text: str, form: Form) -> Asked:
    """The quantity that a text stands for, for a law.

    Raises:
        UserError: no such quantity of this law, or an x that is missing or no positive number.
    """
    head, sign, tail = text.strip().partition("@")
    name = SHORT.get(head, head) if head not in form.parameters else head
    nowhere = np.zeros(len(form.columns))
    if not sign and head in form.parameters:
        factor = form.functional(head, nowhere, 0.0).exponentiate
        return Asked(text, "parameter", head, {}, factor)
    derived = _derived(form)
    if not sign and name in derived:
        return Asked(text, "derived", name, {}, False)
    if sign and head == "loss":
        return Asked(text, "loss", "loss", _at(text, tail, form.columns), False)
    if sign and head in OPTIMA and {"G", f"{head}_exponent"} <= set(derived):
        return Asked(text, "optimum", head, _at(text, tail, ("C",)), True)
    named = [*form.parameters, *(key for key, long in SHORT.items() if long in derived)]
    place = ",".join(f"{column}=1e9" for column in form.columns)
    optima = ", N_opt@C=1e20 or D_opt@C=1e20" if "G" in derived else ""
    raise UserError(
        f"quantity {text!r} is none of the law {form.name}: expected one of {', '.join(named)}, "
        f"loss@{place}{optima}"
    )


def _derived(form: Form) -> tuple[str, ...]:
    with np.errstate(all="ignore"):
        return tuple(form.derived(dict.fromkeys(form.parameters, np.float64(1.0))))


def _at(text: str, tail: str, columns: tuple[str, ...]) -> dict[str, float]:
    wanted = f"expected {text.partition('@')[0]}@{','.join(f'{c}=1e9' for c in columns)}"
    values: dict[str, float] = {}
    for part in tail.split(","):
        key, sign, given = (piece.strip() for piece in part.partition("="))
        if not sign or key not in columns or key in values:
            raise UserError(f"quantity {text!r}: found {part!r}, {wanted}")
        match = NUMBER.fullmatch(given)
        number = float(match[1]) * LARGE[match[2].upper()] if match else math.nan
        if not (number > 0 and math.isfinite(number)):
            raise UserError(f"quantity {text!r}: {key} is {given!r}, a positive number is expected")
        values[key] = number
    for column in columns:
        if column not in values:
            raise UserError(f"quantity {text!r}: {column} is missing, {wanted}")
    return values
