"""The sum of a function of the residuals of log loss, with gradient and Hessian, for a batch."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array, Form

OBJECTIVES = ("least_squares", "huber", "lad")
HUBER_95 = 1.345
"""Huber's constant: 95% efficiency at the normal distribution (Huber 1981, section 4.5)."""
BLOCK = 32_000
"""Numbers in the largest array at a time: what stays in a processor's own cache."""


@dataclass(frozen=True)
class Problem:
    """Points in internal coordinates and the objective over them.

    u (n, m) centred logs of x; y (n,) or (S, n) logs of loss minus their mean; weights of the
    same shapes. delta None: sum of w r^2 / 2. Otherwise the sum of w times Huber's function:
    r^2 / 2 up to |r| = delta, then delta (|r| - delta / 2) (Huber 1964; Hoffmann et al. 2022,
    equation 3, with delta 1e-3).

    rough: the Hessian is J' W J with W = w inside delta and w delta / (2 |r|) beyond, positive
    and without Huber's kinks: for the way from afar.
    """

    form: Form
    u: Array
    y: Array
    weights: Array
    delta: float | None = None
    rough: bool = False

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """Objective (s,), gradient (s, P), Hessian (s, P, P) at theta for those batch entries."""
        size = max(1, BLOCK // (len(self.u) * theta.shape[1]))
        parts = [
            self._block(theta[i : i + size], rows[i : i + size]) for i in range(0, len(theta), size)
        ]
        if len(parts) == 1:
            return parts[0]
        value, gradient, hessian = (np.concatenate(part) for part in zip(*parts, strict=True))
        return value, gradient, hessian

    def of_points(self, theta: Array) -> tuple[Array, Array, Array]:
        """What each point adds to the objective at theta (P,): value (n,), gradient (n, P), Hessian
        (n, P, P)."""
        alone = dataclasses.replace(
            self, u=self.u[:, None], y=self.y[:, None], weights=self.weights[:, None]
        )
        return alone._block(np.repeat(theta[None], len(self.u), 0), np.arange(len(self.u)))

    def _block(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        y = self.y if self.y.ndim == 1 else self.y[rows]
        weights = self.weights if self.weights.ndim == 1 else self.weights[rows]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, slopes, curvature = _expand(self.form, theta, self.u)
            residual = y - np.log(loss)
            rho, psi, bend = robust(residual, self.delta)
            value = (weights * rho).sum(1)
            # Derivatives of ln L are those of L over L; its Hessian is less their outer product.
            slopes, inverse, pull = slopes.swapaxes(1, 2), 1 / loss, weights * psi
            if self.rough:
                bent = weights * np.where(bend > 0, 1.0, psi / residual / 2)
            else:
                bent = weights * bend + pull
            pull = pull * inverse
            gradient = -np.matmul(slopes, pull[..., None])[..., 0]
            bent = slopes * (bent * inverse * inverse)[:, None]
            hessian = np.matmul(bent, slopes.swapaxes(1, 2))
            if not self.rough:
                hessian -= curvature(pull)
        bad = ~(np.isfinite(value) & np.isfinite(hessian).all((1, 2)))
        if bad.any():
            value[bad], gradient[bad], hessian[bad] = np.inf, 0.0, 0.0
        return value, gradient, hessian


def _expand(form: Form, theta: Array, u: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
    """Loss (s, n), slopes (s, n, P) and the curvature by the weights.

    From the form's own `expand` where its class has one, which forms the powers once.
    """
    expand = getattr(type(form), "expand", None)
    if expand:
        return expand(form, theta, u)
    return *form.gradient(theta, u), functools.partial(form.curvature, theta, u)


def robust(residual: Array, delta: float | None) -> tuple[Array, Array, Array]:
    """The objective's function of a residual, its first and its second derivative."""
    if delta is None:
        return residual**2 / 2, residual, np.ones_like(residual)
    psi = np.minimum(np.maximum(residual, -delta), delta)
    return psi * (residual - psi / 2), psi, (psi == residual).astype(float)


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
