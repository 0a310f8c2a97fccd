"""Compute-optimal allocation from a law of N and D: how to spend FLOPs on size and on tokens.

Training costs 6 N D FLOPs and reading or writing T tokens later costs 2 N T (Kaplan et al. 2020,
section 2.1). Three questions, with T = 0 unless said:

- least loss for C = 6 N D + 2 N T;
- the same in closed form for L = E + A N^-alpha + B D^-beta and T = 0: Hoffmann et al. 2022
  (arXiv:2203.15556), equation 4, N_opt = G (C/6)^a, G = (alpha A / (beta B))^(1/(alpha+beta)),
  a = beta / (alpha + beta);
- least 6 N D + 2 N T for a given loss: Sardana et al. 2023 (arXiv:2401.00448), equations 1 to 3.
  The least loss falls with the FLOPs, so it is the C whose least loss is the one wanted.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.allocation import closed
from scalelab.laws.allocation.closed import Interval, exp_or_open
from scalelab.laws.registry import Array, Form
from scalelab.laws.result import FitResult
from scalelab.laws.shapes.sums import PowerSum
from scalelab.laws.uncertainty.profile import quantile

Loss = Callable[[Array, Array], Array]
"""From N (s, k) and D (s, k) to the loss (s, k); row i belongs to the i-th set of parameters."""

GRID = 65
ROUNDS = 12
FINE = 0.02
LARGEST_FLOPS = 1e40
WITHOUT = "no intervals: the constants alone do not hold any"
STEP = 0.2
"""Of a standard error, for the slope of an optimum by a parameter."""


@dataclass(frozen=True)
class Allocation:
    """The optimum. flops: all of them, training_flops = 6 N D; loss in the unit of the law's y.

    intervals: of N, D, loss, tokens_per_parameter (and flops where the loss was given);
    exponents: {N: (a, low, high), D: (b, low, high)} where they are in closed form.
    """

    n: float
    d: float
    loss: float
    flops: float
    inference_tokens: float
    method: str
    intervals: dict[str, Interval]
    interval_method: str
    level: float | None
    exponents: dict[str, tuple[float, float | None, float | None]]

    @property
    def tokens_per_parameter(self) -> float:
        """D / N."""
        return self.d / self.n

    @property
    def training_flops(self) -> float:
        """6 N D."""
        return 6 * self.n * self.d

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "flops": self.flops,
            "training_flops": self.training_flops,
            "inference_tokens": self.inference_tokens,
            "N": self.n,
            "D": self.d,
            "tokens_per_parameter": self.tokens_per_parameter,
            "loss": self.loss,
            "method": self.method,
            "level": self.level,
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
            "interval_method": self.interval_method,
            "exponents": {name: list(item) for name, item in self.exponents.items()},
        }


def minimise_loss(
    loss: Loss, flops: Any, inference_tokens: float = 0.0, rows: int = 1
) -> tuple[Array, Array]:
    """N (s,) and D (s,) of least loss with 6 N D + 2 N T = C; NaN where an end of the range wins.

    loss: any law of two columns, for `rows` sets of parameters at once. flops: C, a number or
    (s,). N and D from 1 on. Grids in ln N around the best point down to 1e-8; where the law is
    smooth, Newton steps on differences of fourth order do better, since comparing losses in double
    precision leaves 1e-7 of N at a flat minimum, and the better of the two is taken.
    """
    cost = np.broadcast_to(np.asarray(flops, float), rows)[:, None]

    def tokens(log_n: Array) -> Array:
        return cost / (6 * np.exp(log_n)) - inference_tokens / 3

    def value(log_n: Array) -> Array:
        with np.errstate(all="ignore"):
            found = loss(np.exp(log_n), np.maximum(tokens(log_n), 1.0))
        return np.where(np.isfinite(found), found, np.inf)

    def reach(log_n: Array) -> Array:
        # Near the end where D runs out its log moves faster than that of N.
        return FINE / (1 + inference_tokens / (3 * np.maximum(tokens(log_n), 1.0)))

    first = np.zeros((rows, 1))
    last = np.log(np.maximum(cost / (6 + 2 * inference_tokens), 1.0))
    lost = np.zeros((rows, 1), bool)
    everyone, steps = np.arange(rows), np.linspace(0.0, 1.0, GRID)
    smooth = None
    for turn in range(ROUNDS):
        grid = first + (last - first) * steps
        best = np.argmin(value(grid), axis=1)
        if turn == 0:  # later, an end of the range is a tie between losses equal but for rounding
            lost[:, 0] = (best == 0) | (best == GRID - 1)
        best = np.clip(best, 1, GRID - 2)
        first, middle, last = (grid[everyone, best + k][:, None] for k in (-1, 0, 1))
        width = np.where(lost, 0.0, (last - first) / reach(middle))
        if smooth is None and (width <= 2).all():
            smooth = _newton(value, middle, reach(middle))
        if (width <= 1e-8 / FINE).all():
            break
    if smooth is not None:
        better = value(smooth) <= value(middle) * (1 + 4 * np.finfo(float).eps)
        middle = np.where(better, smooth, middle)
    log_n = np.where(lost, np.nan, middle)
    return np.exp(log_n)[:, 0], tokens(log_n)[:, 0]


def _newton(value: Callable[[Array], Array], log_n: Array, step: Array) -> Array:
    """Minimum (s, 1) near log_n by differences at multiples of `step`, moving `step` at most."""
    for _ in range(3):
        m2, m1, zero, p1, p2 = (value(log_n + k * step) for k in (-2, -1, 0, 1, 2))
        with np.errstate(all="ignore"):
            slope = (m2 - 8 * m1 + 8 * p1 - p2) / 12
            bend = (-m2 + 16 * m1 - 30 * zero + 16 * p1 - p2) / 12
            move = np.nan_to_num(np.where(bend > 0, -slope / bend, 0.0))
        log_n = log_n + np.clip(move, -1, 1) * step
    return log_n


def least_flops(
    loss: Loss, target: float, inference_tokens: float = 0.0, rows: int = 1
) -> tuple[Array, Array, Array]:
    """N, D and 6 N D + 2 N T, each (s,), of least FLOPs with that loss; NaN where it is not met.

    By bisection of ln C on the least loss at C.
    """
    low = np.full(rows, np.log(6 + 2 * inference_tokens) + 1.0)
    high = np.full(rows, np.log(LARGEST_FLOPS))

    def excess(log_c: Array) -> Array:
        n, d = minimise_loss(loss, np.exp(log_c), inference_tokens, rows)
        with np.errstate(all="ignore"):
            return loss(n[:, None], d[:, None])[:, 0] - target

    never = ~(excess(high) <= 0) | (excess(low) <= 0)
    for _ in range(48):
        middle = (low + high) / 2
        # NaN (no optimum inside the range) happens at small C only.
        above = ~(excess(middle) <= 0)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    flops = np.where(never, np.nan, np.exp(high))
    n, d = minimise_loss(loss, np.where(never, 1e20, flops), inference_tokens, rows)
    return np.where(never, np.nan, n), np.where(never, np.nan, d), flops


def allocate(
    source: FitResult | Mapping[str, Any],
    flops: float | None = None,
    loss: float | None = None,
    inference_tokens: float = 0.0,
    fixed: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Allocation:
    """The optimum for a budget of FLOPs, or the least FLOPs for a loss; give one of the two.

    source: a fit, or its JSON or a published law, which have no intervals. fixed: values of
    columns of the law beside N and D, such as U. Intervals are those of the fit's own method where
    there is a closed form; else percentiles of the optimum over the fit's resamples or, without
    them, the delta method with the fit's own standard errors; `interval_method` says which.

    Raises:
        UserError: a law that is not one of N and D, an optimum at the end of the range, a loss
            that the law does not reach.
    """
    if (flops is None) == (loss is None):
        raise UserError("expected either FLOPs or a loss, one of the two")
    for name, value in (("FLOPs", flops), ("loss", loss)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise UserError(f"{name}: found {value:g}, expected a positive number")
    if not (np.isfinite(inference_tokens) and inference_tokens >= 0):
        raise UserError(f"inference tokens: found {inference_tokens:g}, expected 0 or more")
    fit = source if isinstance(source, FitResult) else None
    block = source.block if isinstance(source, FitResult) else source
    form = registry.get(block["law"])
    others = _others(form, fixed or {})
    theta = form.theta(block["params"])[None]
    law = _loss(form, theta, np.zeros(len(form.columns)), 0.0, others)
    if closed.possible(form) and flops and not inference_tokens:
        return _in_closed_form(source, form, [flops], level)[0]
    n, d, total = (float(part[0]) for part in _optima(law, flops, loss, inference_tokens, 1))
    if not np.isfinite(n):
        raise UserError(_no_optimum(block, flops, loss))
    intervals: dict[str, Interval] = {}
    said = WITHOUT
    if fit:
        ask = (flops, loss, inference_tokens, others)
        intervals, said = _numeric_intervals(fit, *ask, level or fit.level)
    return Allocation(
        n=n,
        d=d,
        loss=_at(law, n, d),
        flops=total,
        inference_tokens=inference_tokens,
        method="numeric",
        intervals=intervals,
        interval_method=said,
        level=(level or fit.level) if fit else None,
        exponents={},
    )


def along(
    fit: FitResult, budgets: Sequence[float], fixed: Mapping[str, float] | None = None
) -> list[Allocation]:
    """The optima of several budgets of training FLOPs, without those that have none.

    Where there is a closed form, all intervals are found together.

    Raises:
        UserError: a law that is not one of N and D, or does not fall with both.
    """
    form = registry.get(fit.law)
    _others(form, fixed or {})
    if closed.possible(form):
        return _in_closed_form(fit, form, budgets, None)
    found = []
    for flops in budgets:
        with contextlib.suppress(UserError):
            found.append(allocate(fit, flops, fixed=fixed))
    return found


def _in_closed_form(
    source: FitResult | Mapping[str, Any],
    form: PowerSum,
    budgets: Sequence[float],
    level: float | None,
) -> list[Allocation]:
    fit = source if isinstance(source, FitResult) else None
    block = source.block if isinstance(source, FitResult) else source
    params: Mapping[str, float] = block["params"]
    closed.check_falls(form, params)
    share = closed.exponent(form, params)
    exponents: dict[str, tuple[float, float | None, float | None]]
    exponents = {"N": (share, None, None), "D": (1 - share, None, None)}
    intervals: list[dict[str, Interval]] = [{} for _ in budgets]
    if fit:
        intervals, (low, high) = closed.intervals(fit, form, np.array(budgets, float), level)
        flip = [None if end is None else 1 - end for end in (high, low)]
        exponents = {"N": (share, low, high), "D": (1 - share, flip[0], flip[1])}
    law = _loss(form, form.theta(params)[None], np.zeros(2), 0.0, {})
    found = []
    for flops, sure in zip(budgets, intervals, strict=True):
        n, d = (float(np.exp(part)) for part in closed.optimum(form, params, flops))
        found.append(
            Allocation(
                n=n,
                d=d,
                loss=_at(law, n, d),
                flops=flops,
                inference_tokens=0.0,
                method="closed form, Hoffmann et al. 2022, equation 4",
                intervals=sure,
                interval_method=str(fit.block["interval_method"]) if fit else WITHOUT,
                level=(level or fit.level) if fit else None,
                exponents=exponents,
            )
        )
    return found


def _at(law: Loss, n: float, d: float) -> float:
    return float(law(np.array([[n]]), np.array([[d]]))[0, 0])


def _others(form: Form, fixed: Mapping[str, float]) -> dict[str, float]:
    """Values of the law's columns beside N and D."""
    for column in ("N", "D"):
        if column not in form.columns:
            raise UserError(
                f"law {form.name} is one of {', '.join(form.columns)}: an allocation needs a law "
                "of N and D such as chinchilla"
            )
    wanted = [column for column in form.columns if column not in ("N", "D")]
    for column in wanted:
        if column not in fixed:
            raise UserError(f"law {form.name} has a column {column}: its value is missing")
    return {column: float(fixed[column]) for column in wanted}


def _loss(
    form: Form, theta: Array, centre: Array, log_scale: float, others: Mapping[str, float]
) -> Loss:
    """The law at theta (s, P), internal coordinates of that centre and scale."""

    def law(n: Array, d: Array) -> Array:
        values: dict[str, Any] = {"N": n, "D": d, **others}
        logs = [np.log(np.broadcast_to(values[c], n.shape)) for c in form.columns]
        return form.value(theta, np.stack(logs, axis=-1) - centre) * np.exp(log_scale)

    return law


def _optima(
    law: Loss, flops: float | None, loss: float | None, inference_tokens: float, rows: int
) -> tuple[Array, Array, Array]:
    """N, D and FLOPs (s,) of either question."""
    if flops is not None:
        n, d = minimise_loss(law, flops, inference_tokens, rows)
        return n, d, np.full(rows, flops)
    assert loss is not None
    return least_flops(law, loss, inference_tokens, rows)


def _no_optimum(block: Mapping[str, Any], flops: float | None, loss: float | None) -> str:
    if flops is not None:
        return (
            f"law {block['law']} has no optimum between one parameter and one token at "
            f"{flops:.3g} FLOPs: it does not fall with N and D alike, or the FLOPs are too few"
        )
    floor = block["params"].get(registry.get(block["law"]).offset or "")
    reason = f" (the floor of the law is {floor:.4g})" if floor else ""
    return f"loss {loss:g} is the least one of no budget up to {LARGEST_FLOPS:g} FLOPs{reason}"


def _numeric_intervals(
    fit: FitResult,
    flops: float | None,
    loss: float | None,
    inference_tokens: float,
    others: Mapping[str, float],
    level: float,
) -> tuple[dict[str, Interval], str]:
    """Percentiles of the optimum over the fit's resamples, else the delta method about it."""
    best, drawn = fit.best, fit.sure.resamples
    if drawn is not None:
        theta, tail = drawn.theta, (1 - level) / 2
        said = f"{fit.sure.describe()}, for the optimum"
    else:
        step = np.diag(STEP * np.maximum(fit.sure.spread(np.eye(len(best.theta)))[0], 1e-12))
        theta, tail = np.concatenate([best.theta[None], best.theta + step, best.theta - step]), 0.0
        said = f"delta method on the log of the optimum, spread by {fit.sure.describe()}"
    law = _loss(best.form, theta, best.centre, best.log_scale, others)
    # Parameters about the fit may leave the law's domain; those are counted in `lost`.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        n, d, total = _optima(law, flops, loss, inference_tokens, len(theta))
        named = {"N": n, "D": d, "tokens_per_parameter": d / n}
        named |= {"flops": total} if flops is None else {"loss": law(n[:, None], d[:, None])[:, 0]}
        logs = np.log(np.stack(list(named.values())))
    lost = float(np.isnan(n).mean())
    if lost > tail:
        said = f"no intervals, since {lost:.1%} of the parameters about the fit have no optimum"
        return {name: (None, None) for name in named}, said
    if drawn is not None:
        # Resamples without an optimum lie beyond one end or the other, so both are moved out.
        wider = level + (1 - level) * lost / (2 * tail)
        ends = np.array([drawn.ends(row[np.isfinite(row)], wider) for row in logs])
    else:
        above, below = np.split(logs[:, 1:], 2, axis=1)
        error, dof = fit.sure.spread((above - below) / (2 * np.diag(step)))
        half = error * np.array([quantile(level, one) for one in dof])
        ends = logs[:, :1] + np.column_stack([-half, half])
    return {
        name: (exp_or_open(low), exp_or_open(high))
        for name, (low, high) in zip(named, ends, strict=True)
    }, said
