"""The sum of a function of the residuals of log loss, with gradient and Hessian, for a batch."""

from dataclasses import dataclass

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array, Form

OBJECTIVES = ("least_squares", "huber")
HUBER_95 = 1.345
"""Huber's constant: 95% efficiency at the normal distribution (Huber 1981, section 4.5)."""


@dataclass(frozen=True)
class Problem:
    """Points in internal coordinates and the objective over them.

    u (n, m) centred logs of x; y (n,) or (S, n) logs of loss minus their mean; weights of the
    same shapes. delta None: sum of w r^2 / 2. Otherwise the sum of w times Huber's function:
    r^2 / 2 up to |r| = delta, then delta (|r| - delta / 2) (Huber 1964; Hoffmann et al. 2022,
    equation 3, with delta 1e-3).
    """

    form: Form
    u: Array
    y: Array
    weights: Array
    delta: float | None = None

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """Objective (s,), gradient (s, P), Hessian (s, P, P) at theta for those batch entries."""
        y = self.y if self.y.ndim == 1 else self.y[rows]
        weights = self.weights if self.weights.ndim == 1 else self.weights[rows]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, slopes = self.form.gradient(theta, self.u)
            residual = y - np.log(loss)
            rho, psi, bend = robust(residual, self.delta)
            value = (weights * rho).sum(1)
            slopes = slopes / loss[..., None]
            pull = weights * psi
            gradient = -np.einsum("sn,snp->sp", pull, slopes)
            # Second derivatives of ln L are those of L over L, less the slopes' outer product.
            outer = np.matmul((slopes * (weights * bend + pull)[..., None]).swapaxes(1, 2), slopes)
            hessian = outer - self.form.curvature(theta, self.u, pull / loss)
        bad = ~(np.isfinite(value) & np.isfinite(hessian).all((1, 2)))
        value = np.where(bad, np.inf, value)
        return (
            value,
            np.where(bad[:, None], 0.0, gradient),
            np.where(bad[:, None, None], 0, hessian),
        )


def robust(residual: Array, delta: float | None) -> tuple[Array, Array, Array]:
    """The objective's function of a residual, its first and its second derivative."""
    if delta is None:
        return residual**2 / 2, residual, np.ones_like(residual)
    inside = np.abs(residual) <= delta
    rho = np.where(inside, residual**2 / 2, delta * (np.abs(residual) - delta / 2))
    return rho, np.clip(residual, -delta, delta), inside.astype(float)


def mad_scale(residual: Array, parameters: int) -> float:
    """Standard deviation of residuals (n,) from their median size, for normal noise.

    1.4826 is 1 / the normal quantile at 0.75 (Huber 1981, section 5.1); n / (n - P) makes up for
    the fitted parameters as it does for the root mean square.
    """
    count = len(residual)
    spare = max(count - parameters, 1)
    return float(1.4826 * np.median(np.abs(residual)) * np.sqrt(count / spare))


def check_objective(objective: str, delta: float | None) -> None:
    """Raise `UserError` for an objective that does not exist or a delta that does not fit it."""
    if objective not in OBJECTIVES:
        raise UserError(f"objective {objective!r} is unknown: expected {' or '.join(OBJECTIVES)}")
    if delta is not None and objective != "huber":
        raise UserError(f"delta {delta} belongs to the objective huber, not to {objective}")
    if delta is not None and not (np.isfinite(delta) and delta > 0):
        raise UserError(f"delta is {delta}: expected a positive number such as 1e-3")
