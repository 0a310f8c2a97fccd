"""What a design cannot tell, said before anything is trained.

The checks of a fit's checklist are asked of the points that the design will give; what follows
from the information matrix is added.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.advise.design import Design, design
from scalelab.advise.information import Spread, is_singular, jacobian, spread
from scalelab.advise.prior import Prior, estimate_at, prior
from scalelab.errors import UserError
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.judgement import sanity
from scalelab.laws.judgement.design import identification, profile_edge
from scalelab.laws.registry import Array
from scalelab.laws.shapes.constraints import Constraints
from scalelab.laws.uncertainty.profile import quantile
from scalelab.laws.uncertainty.springs import Target, gradients

TENFOLD = 1.0
WIDE = 0.5
"""Half-width of an exponent over its value from which the design does not tell it."""
TRADE = 0.99
"""Correlation of two estimates from which one is hardly known without the other."""
FEW = 3


def weaknesses(
    rows: Any, law: "Prior | str | Mapping[str, Any]" = "chinchilla", noise: float = 0.003
) -> list[str]:
    """Sentences on what the design cannot tell, worst first; none for a sound design.

    rows, law, noise: as in `expected`.

    Raises:
        UserError: an unknown law or a bad design.
    """
    one = prior(law)
    plan = design(rows, one)
    best = estimate_at(one, plan.x)
    if sanity.moves_together(plan.points):
        return [_together(plan, one)]
    try:
        sanity.check_sizes(one.form, plan.points, Constraints())
    except UserError as error:
        return [str(error)]
    if is_singular(best):
        return [f"the runs do not tell the parameters of {one.law} apart: {_flat(best)} {NOTHING}"]
    exponents = _exponents(best)
    targets = [Target(functional=best.functional(name)) for name in exponents]
    member = None if plan.method == "profile" else plan.member
    wide = spread(best, gradients(best, targets), noise**2 / plan.counts, member)
    told = [_spans(plan), _identified(plan), _floor(plan, best, noise, member)]
    told += [*_open(plan, exponents, wide), *_unsure(best, exponents, wide), _trade(best)]
    told += [_few(best, plan), _edge(plan)]
    return [text for text in told if text]


NOTHING = "can be changed together without changing any loss (singular information matrix)"


def _together(plan: Design, one: Prior) -> str:
    x, (first, second) = plan.x, plan.points.columns[:2]
    ratio = x[:, 1] / x[:, 0]
    form = one.form
    instead = f", and a fit falls back to {form.fallback} in {first}" if form.fallback else ""
    if ratio.max() < ratio.min() * 1.02:
        same = f"{second}/{first} is the same ({ratio.mean():.3g}) in all runs"
    else:
        same = f"{first} and {second} rise together in all runs"
    return f"{same}: the terms of {first} and {second} cannot be told apart at all{instead}"


def _flat(best: Estimate) -> str:
    """The parameters that take part in the flattest direction."""
    rows = jacobian(best)
    scale = np.sqrt((rows**2).sum(0))
    flat = np.linalg.eigh((rows / scale).T @ (rows / scale))[1][:, 0]
    names = np.array(best.base.parameters)[np.abs(flat) > 0.1 * np.abs(flat).max()]
    return ", ".join(names)


def _spans(plan: Design) -> str | None:
    decades = np.log10(plan.x.max(0) / plan.x.min(0))
    short = [
        f"{column} spans {10**wide:.2g}-fold"
        for column, wide in zip(plan.points.columns, decades, strict=True)
        if wide < TENFOLD - 1e-9
    ]
    if not short:
        return None
    return (
        f"{' and '.join(short)}, under tenfold: an exponent is hardly told from the floor of the "
        "loss over so short a range"
    )


def _identified(plan: Design) -> str | None:
    """The checklist's own sentence, where it is about columns that go together."""
    found = identification(plan.points)
    if found is None or found["ok"] or "go together" not in found["message"]:
        return None
    return next(part for part in found["message"].split("; ") if "go together" in part)


def _floor(plan: Design, best: Estimate, noise: float, member: np.ndarray | None) -> str | None:
    name = best.base.offset
    if name is None:
        return None
    slopes = gradients(best, [Target(functional=best.functional(name))])
    half = spread(best, slopes, noise**2 / plan.counts, member).half_width(0.95)[0]
    if not np.isfinite(half) or half < best.params[name]:
        return None
    return (
        f"{name} is expected to be {best.params[name]:.3g} +- {half:.2g}: the design cannot show "
        "that the loss has a floor"
    )


def _exponents(best: Estimate) -> list[str]:
    """The parameters that are neither the floor nor a coefficient."""
    return [
        name
        for name in best.determined
        if name != best.base.offset and not best.functional(name).exponentiate
    ]


def _open(plan: Design, names: list[str], wide: Spread) -> list[str]:
    without = [name for name, dof in zip(names, wide.dof, strict=True) if dof == 0]
    if not without:
        return []
    count = int(plan.member.max()) + 1
    return [
        f"{', '.join(without)} will have an open interval: {count} sizes are {count} independent "
        "pieces of evidence, and none is left to show what a size gets wrong"
    ]


def _unsure(best: Estimate, names: list[str], wide: Spread) -> list[str]:
    half = wide.half_width(0.95)
    return [
        f"{name} is expected to be {best.params[name]:.3g} +- {one:.2g}: the design hardly tells it"
        for name, one in zip(names, half, strict=True)
        if np.isfinite(one) and one > WIDE * abs(best.params[name])
    ]


def _trade(best: Estimate) -> str | None:
    """The two natural parameters, of floor and exponents, whose estimates are most alike."""
    names = [n for n in (best.base.offset, *_exponents(best)) if n]
    slopes = gradients(best, [Target(functional=best.functional(n)) for n in names])
    correlation = _correlation(slopes, jacobian(best))
    np.fill_diagonal(correlation, 0.0)
    place = np.unravel_index(np.argmax(np.abs(correlation)), correlation.shape)
    found = float(correlation[place])
    if abs(found) < TRADE:
        return None
    a, b = sorted(int(i) for i in place)
    return (
        f"{names[a]} and {names[b]} trade against each other (correlation of their estimates "
        f"{found:.3f}): neither is known better than the other"
    )


def _correlation(slopes: Array, rows: Array) -> Array:
    covariance = slopes @ np.linalg.pinv(rows.T @ rows, rcond=1e-14) @ slopes.T
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.maximum(np.outer(sd, sd), 1e-300)


def _few(best: Estimate, plan: Design) -> str | None:
    if best.dof >= FEW:
        return None
    spare = "1 degree of freedom" if best.dof == 1 else f"{best.dof} degrees of freedom"
    return (
        f"{len(plan.x)} points leave {spare}, so the quantile of Student's t is "
        f"{quantile(0.95, best.dof):.3g} instead of 1.96: one more point narrows every interval"
    )


def _edge(plan: Design) -> str | None:
    found = profile_edge(plan.points)
    return None if found is None or found["ok"] else str(found["message"])
