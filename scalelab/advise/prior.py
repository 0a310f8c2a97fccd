"""The law that a design is tried on before anything is trained, and a fit that sits at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import published, registry
from scalelab.laws.estimation.estimate import Estimate, make_problem
from scalelab.laws.registry import Array, Form
from scalelab.laws.shapes.constraints import Constraints


@dataclass(frozen=True)
class Prior:
    """A law with the natural values of its parameters, taken for true; source says whose."""

    law: str
    params: Mapping[str, float]
    source: str

    @property
    def form(self) -> Form:
        """The law of the registry."""
        return registry.get(self.law)

    def log_loss(self, x: Array) -> Array:
        """Log loss (n,) at x (n, m)."""
        form = self.form
        return np.log(form.value(form.theta(self.params)[None], np.log(x))[0])


def prior(source: "Prior | str | Mapping[str, Any]") -> Prior:
    """A prior from a published law's name, a law's name, or a mapping with `law` and `params`.

    A mapping may be the JSON of a fit. A law's name stands for the first published law of that
    form.

    Raises:
        UserError: an unknown name, a law without published constants, or missing parameters.
    """
    if isinstance(source, Prior):
        return source
    if isinstance(source, str):
        name = source
        if name not in published.names() and name in registry.discover():
            same = [one for one in published.names() if published.get(one).law == name]
            if not same:
                raise UserError(
                    f"prior {name!r}: no published law has this form: expected the JSON of a fit, "
                    f"or one of {', '.join(published.names())}"
                )
            name = same[0]
        found = published.get(name)
        return Prior(found.law, dict(found.params), name)
    if "law" not in source or "params" not in source:
        raise UserError("prior: expected the JSON of a fit, with law and params")
    form = registry.get(source["law"])
    missing = [name for name in form.parameters if name not in source["params"]]
    if missing:
        raise UserError(f"prior of law {form.name}: {', '.join(missing)} missing from params")
    values = {name: float(source["params"][name]) for name in form.parameters}
    return Prior(form.name, values, str(source.get("published", "a fit")))


def estimate_at(one: Prior, x: Array) -> Estimate:
    """The fit to losses at x (n, m) that lie on the law, without a search: theta is the truth.

    What the covariance, the degrees of freedom and the profile of a design follow from.
    """
    form = one.form
    problem, centre, log_scale = make_problem(form, x, one.log_loss(x), None)
    return Estimate(
        base=form,
        form=form,
        constraints=Constraints(),
        objective="least_squares",
        problem=problem,
        centre=centre,
        log_scale=log_scale,
        theta=internal(form, one.params, centre, log_scale),
        value=0.0,
        gradient_norm=0.0,
        starts=1,
        fraction_at_best=1.0,
        other_minima=(),
        converged=True,
    )


def internal(form: Form, params: Mapping[str, float], centre: Array, log_scale: float) -> Array:
    """Internal coordinates (P,) of natural parameters, for logs centred there and scaled losses.

    Every natural parameter, or its log, is linear in them: a linear system.
    """
    parts = [form.functional(name, centre, log_scale) for name in form.parameters]
    right = [
        (np.log(params[name]) if part.exponentiate else params[name]) - part.constant
        for name, part in zip(form.parameters, parts, strict=True)
    ]
    return np.linalg.solve(np.array([part.coefficients for part in parts]), np.array(right))
