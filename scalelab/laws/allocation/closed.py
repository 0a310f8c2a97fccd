"""The optimum for C = 6 N D in closed form, for laws of a floor and one power of N and of D.

Hoffmann et al. 2022 (arXiv:2203.15556), equation 4: N_opt = G (C/6)^a, D_opt = (C/6)^b / G with
G = (alpha A / (beta B))^(1/(alpha+beta)), a = beta / (alpha + beta), b = alpha / (alpha + beta).
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array, Form
from scalelab.laws.result import FitResult, finite
from scalelab.laws.shapes.sums import PowerSum
from scalelab.laws.uncertainty.springs import Target

Interval = tuple[float | None, float | None]
"""None for an open end."""


def possible(form: Form) -> TypeGuard[PowerSum]:
    """Whether the law is a floor and one power of N and of D."""
    return isinstance(form, PowerSum) and sorted(x for _, _, x in form.terms) == ["D", "N"]


def optimum(form: PowerSum, params: Mapping[str, Any], flops: Any) -> tuple[Any, Any]:
    """(ln N_opt, ln D_opt) for C = 6 N D.

    params may hold numbers, arrays or jets: only NumPy functions are applied to them.
    """
    a, alpha, b, beta = _constants(form, params)
    ratio = np.log(alpha) + np.log(a) - np.log(beta) - np.log(b)
    log_n = (ratio + beta * np.log(flops / 6)) / (alpha + beta)
    return log_n, np.log(flops / 6) - log_n


def exponent(form: PowerSum, params: Mapping[str, Any]) -> Any:
    """The a of N_opt ~ C^a."""
    _, alpha, _, beta = _constants(form, params)
    return beta / (alpha + beta)


def check_falls(form: PowerSum, params: Mapping[str, float]) -> None:
    """`UserError` for a law that does not fall with N and D alike."""
    for name in (name for c, e, _ in form.terms for name in (c, e)):
        if not params[name] > 0:
            raise UserError(
                f"{name} is {params[name]:g}: the law does not fall with N and D alike, so no "
                "budget has an optimum"
            )


def intervals(
    fit: FitResult, form: PowerSum, budgets: Array, level: float | None = None
) -> tuple[list[dict[str, Interval]], Interval]:
    """Intervals of N, D, D / N and loss for each of the budgets (m,), and that of a.

    By the fit's own method, all at once. D and D / N follow from N, since 6 N D is given.
    """

    def log_n(p: Mapping[str, Any], flops: Any) -> Any:
        return optimum(form, p, flops)[0]

    def log_loss(p: Mapping[str, Any], flops: Any) -> Any:
        logs = dict(zip("ND", optimum(form, p, flops), strict=True))
        total = sum(np.exp(np.log(p[c]) - p[e] * logs[x]) for c, e, x in form.terms)
        return np.log(total + p[form.offset] if form.offset else total)

    targets = [
        *(Target(function=log_n, at=float(flops)) for flops in budgets),
        *(Target(function=log_loss, at=float(flops)) for flops in budgets),
        Target(function=lambda p: exponent(form, p)),
    ]
    *ends, share = fit.sure.ends(targets, level or fit.level).tolist()
    rows = []
    for flops, (low, high), (least, most) in zip(
        budgets, ends[: len(budgets)], ends[len(budgets) :], strict=True
    ):
        cost = float(np.log(flops / 6))
        rows.append(
            {
                "N": (exp_or_open(low), exp_or_open(high)),
                "D": (exp_or_open(cost - high), exp_or_open(cost - low)),
                "tokens_per_parameter": (
                    exp_or_open(cost - 2 * high),
                    exp_or_open(cost - 2 * low),
                ),
                "loss": (exp_or_open(least), exp_or_open(most)),
            }
        )
    return rows, (finite(share[0]), finite(share[1]))


def exp_or_open(value: float) -> float | None:
    """exp(value), or None where that is no finite number above 0: an open end stays open."""
    if not np.isfinite(value):
        return None
    with np.errstate(over="ignore"):
        return finite(float(np.exp(value))) or None


def _constants(form: PowerSum, params: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """A, alpha of the term in N; B, beta of that in D."""
    pairs = {column: (params[c], params[e]) for c, e, column in form.terms}
    return (*pairs["N"], *pairs["D"])
