"""Power laws y = c x^a by regression of logs, and the compute-optimal frontier made of them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.fitting import fit
from scalelab.laws.registry import Array
from scalelab.laws.result import FitResult, finite
from scalelab.laws.uncertainty.profile import quantile


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient * x^exponent, fitted as ln y = intercept + exponent (ln x - centre).

    covariance (2, 2): of (intercept, exponent). standard_error and interval are of the exponent;
    None where no degree of freedom is left. sigma_log: standard deviation of the residuals of
    ln y (of a point of mean weight).
    """

    exponent: float
    coefficient: float
    standard_error: float | None
    interval: tuple[float | None, float | None]
    level: float
    points: int
    weighted: bool
    sigma_log: float
    r_squared: float
    centre: float
    intercept: float
    covariance: Array

    @property
    def dof(self) -> int:
        """Points minus the two parameters."""
        return self.points - 2

    def predict(self, x: Any) -> Array:
        """y (n,) at x (n,)."""
        return np.exp(self.intercept + self.exponent * self._u(x))

    def interval_at(self, x: Any) -> Array:
        """Ends (n, 2) of the interval of the mean of ln y at x (n,), as y; NaN without one."""
        u = self._u(x)
        if self.dof < 1:
            return np.full((len(u), 2), np.nan)
        design = np.column_stack([np.ones(len(u)), u])
        sd = np.sqrt(np.einsum("np,pq,nq->n", design, self.covariance, design))
        half = quantile(self.level, self.dof) * sd
        return self.predict(x)[:, None] * np.exp(np.column_stack([-half, half]))

    def _u(self, x: Any) -> Array:
        return np.log(np.atleast_1d(np.asarray(x, float))) - self.centre

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "exponent": self.exponent,
            "coefficient": self.coefficient,
            "standard_error": self.standard_error,
            "interval": list(self.interval),
            "level": self.level,
            "points": self.points,
            "weighted": self.weighted,
            "sigma_log": self.sigma_log,
            "r_squared": finite(self.r_squared),
        }


def power_law(
    x: Any, y: Any, log_sd: Any = None, level: float = 0.95, names: tuple[str, str] = ("x", "y")
) -> PowerLaw:
    """Least squares of ln y (n,) on ln x (n,), weighted by 1 / log_sd^2 where log_sd is given.

    The weights are relative: the noise is taken from the residuals, s^2 = sum w r^2 / (n - 2), so
    a log_sd that is too small throughout does not narrow the interval. The interval is Student's t
    on n - 2 degrees of freedom (Draper and Smith 1998, sections 1.4 and 9.2). `names` are those of
    x and y in messages.

    Raises:
        UserError: fewer than two distinct x, or a value that is not positive and finite.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    sd = np.ones(len(x)) if log_sd is None else np.asarray(log_sd, float)
    for name, values in ((names[0], x), (names[1], y), ("log standard deviation", sd)):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise UserError(
                f"{name}, point {bad[0] + 1}: found {values[bad[0]]:g}, expected a positive number"
            )
    if not len(x) == len(y) == len(sd):
        raise UserError(
            f"{len(x)} values of {names[0]}, {len(y)} of {names[1]}, {len(sd)} log standard "
            "deviations: expected one of each for a point"
        )
    if len(np.unique(x)) < 2:
        raise UserError(
            f"{len(np.unique(x))} distinct values of {names[0]}: an exponent of {names[1]} needs "
            "two or more"
        )
    weights = 1 / sd**2
    weights = weights / weights.mean()
    logs, target = np.log(x), np.log(y)
    centre = float((weights * logs).sum() / weights.sum())
    u = logs - centre
    # The weighted mean of u is 0, so intercept and exponent are uncorrelated.
    normal = np.array([weights.sum(), (weights * u**2).sum()])
    intercept = float((weights * target).sum() / normal[0])
    exponent = float((weights * u * target).sum() / normal[1])
    residual = target - intercept - exponent * u
    square = float((weights * residual**2).sum())
    variance = square / max(len(x) - 2, 1)
    error = float(np.sqrt(variance / normal[1])) if len(x) > 2 else None
    ends: tuple[float | None, float | None] = (None, None)
    if error is not None:
        half = quantile(level, len(x) - 2) * error
        ends = (exponent - half, exponent + half)
    total = float((weights * (target - intercept) ** 2).sum())
    return PowerLaw(
        exponent=exponent,
        coefficient=float(np.exp(intercept - exponent * centre)),
        standard_error=error,
        interval=ends,
        level=level,
        points=len(x),
        weighted=log_sd is not None,
        sigma_log=float(np.sqrt(variance)),
        r_squared=1 - square / total if total > 0 else np.nan,
        centre=centre,
        intercept=intercept,
        covariance=variance * np.diag(1 / normal),
    )


@dataclass(frozen=True)
class Frontier:
    """Compute-optimal pairs and power laws in C of N_opt, D_opt, D_opt / N_opt and the loss.

    flops, n_opt, d_opt (k,), loss (k,) or None: the pairs, sorted by FLOPs. Hoffmann et al. 2022
    (arXiv:2203.15556), sections 3.1 and 3.2.
    """

    flops: Array
    n_opt: Array
    d_opt: Array
    loss: Array | None
    n_law: PowerLaw
    d_law: PowerLaw
    ratio_law: PowerLaw

    @functools.cached_property
    def loss_law(self) -> FitResult | None:
        """loss = E + A C^-alpha, fitted when asked for.

        The least loss follows it where L(N, D) is a floor and two powers: put equation 4 of
        Hoffmann et al. 2022 into their equation 2. Without the floor where that cannot be fitted;
        None with fewer than three pairs.
        """
        import pandas as pd

        if self.loss is None:
            return None
        table = pd.DataFrame({"C": self.flops, "loss": self.loss})
        for law in ("power_offset", "power"):
            try:
                return fit(law, table, "C", "loss", level=self.n_law.level)
            except UserError:
                continue
        return None

    def at(self, flops: float) -> dict[str, tuple[float, float | None, float | None]]:
        """{quantity: (value, low, high)} at C FLOPs: N, D, tokens_per_parameter and the loss."""
        laws = {"N": self.n_law, "D": self.d_law, "tokens_per_parameter": self.ratio_law}
        result = {}
        for name, law in laws.items():
            low, high = law.interval_at(flops)[0]
            result[name] = (float(law.predict(flops)[0]), finite(low), finite(high))
        if self.loss_law is not None:
            low, high = self.loss_law.interval(flops)[0]
            result["loss"] = (float(self.loss_law.predict(flops)[0]), finite(low), finite(high))
        return result

    def outside(self, flops: float) -> str | None:
        """A sentence where C lies outside the pairs, else None."""
        if self.flops[0] / 1.001 <= flops <= self.flops[-1] * 1.001:
            return None
        return (
            f"C = {flops:.3g} lies outside the budgets of the optima "
            f"({self.flops[0]:.3g} to {self.flops[-1]:.3g} FLOPs)"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        loss = [None] * len(self.flops) if self.loss is None else self.loss
        return {
            "pairs": [
                {
                    "flops": float(c),
                    "N": float(n),
                    "D": float(d),
                    "loss": None if v is None else float(v),
                }
                for c, n, d, v in zip(self.flops, self.n_opt, self.d_opt, loss, strict=True)
            ],
            "N_opt": self.n_law.to_json(),
            "D_opt": self.d_law.to_json(),
            "loss": _loss_json(self.loss_law),
        }


def frontier(
    flops: Any,
    n_opt: Any,
    d_opt: Any = None,
    loss: Any = None,
    log_sd: Any = None,
    level: float = 0.95,
) -> Frontier:
    """The frontier through given optima: (k,) FLOPs, N_opt, and D_opt = C / (6 N_opt) by default.

    log_sd (k,): standard deviations of ln N_opt, which weight both exponents by 1 / sd^2.

    Raises:
        UserError: as `power_law`.
    """
    flops, n_opt = np.asarray(flops, float), np.asarray(n_opt, float)
    d_opt = flops / (6 * n_opt) if d_opt is None else np.asarray(d_opt, float)
    order = np.argsort(flops, kind="stable")
    sd = None if log_sd is None else np.asarray(log_sd, float)[order]
    loss = None if loss is None else np.asarray(loss, float)[order]
    flops, n_opt, d_opt = flops[order], n_opt[order], d_opt[order]
    return Frontier(
        flops=flops,
        n_opt=n_opt,
        d_opt=d_opt,
        loss=loss,
        n_law=power_law(flops, n_opt, sd, level, ("FLOPs", "N_opt")),
        d_law=power_law(flops, d_opt, sd, level, ("FLOPs", "D_opt")),
        ratio_law=power_law(flops, d_opt / n_opt, sd, level, ("FLOPs", "D_opt / N_opt")),
    )


def _loss_json(law: FitResult | None) -> dict[str, Any] | None:
    if law is None:
        return None
    keys = ("law", "formula", "x", "y", "params", "intervals", "interval_method", "interval_level")
    return {key: law.block[key] for key in keys}


def describe(law: Mapping[str, Any], name: str) -> str:
    """One line of a power law's JSON: `N_opt = 0.09 C^0.5030 [0.4801, 0.5262], 9 points`."""
    low, high = law["interval"]
    ends = "no interval with two points" if low is None else f"[{low:.4f}, {high:.4f}]"
    return (
        f"{name} = {law['coefficient']:.4g} C^{law['exponent']:.4f} {ends}, {law['points']} points"
    )
