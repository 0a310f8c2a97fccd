"""Variances that hold when points share the errors of a run or of a size.

The estimate stays; only its variance counts whole clusters. CR2, or bias-reduced linearization,
of Bell and McCaffrey 2002 (Survey Methodology 28(2), 169-181): each cluster's residuals r_g become
(I - H_gg)^(-1/2) r_g, with H the hat matrix, which makes the variance unbiased for independent
points of equal noise. The t statistic of each quantity gets its own degrees of freedom, by
Satterthwaite's approximation under that same working model: also Pustejovsky and Tipton 2018
(J. Business & Economic Statistics 36(4), 672-683), sections 2 and 3. With each point its own
cluster this is the HC2 variance of MacKinnon and White 1985.
"""

from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimation.estimate import Estimate, noise_scales
from scalelab.laws.estimation.objective import robust
from scalelab.laws.registry import Array

FULL = 1 - 1e-9
"""Leverage at which a cluster's own residual says nothing: it fits that cluster exactly."""
SEEN = 0.1
"""Share of the variance by shared effects below which the residuals do not show it."""


@dataclass(frozen=True)
class Linear:
    """The fit near its minimum as a linear regression with independent errors of equal noise.

    basis (n, P): orthonormal columns that span the derivatives of log loss; back (P, P) turns a
    gradient by theta into one by their coordinates; residual (n,). All with root weights.
    """

    basis: Array
    back: Array
    residual: Array


def linear(best: Estimate) -> Linear:
    """From the derivatives at the estimate. Residuals of a robust objective are psi / <psi'>.

    That makes its sandwich variance the one of least squares: Huber 1981, section 7.6.
    """
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    root = np.sqrt(best.problem.weights)[:, None]
    left, values, right = np.linalg.svd(root * slopes[0] / loss[0][:, None], full_matrices=False)
    keep = values > 1e-7 * values[0]
    back = (right[keep] / values[keep, None]).T
    a, b = noise_scales(best)
    psi = robust(best.residuals, best.problem.delta)[1]
    # Of the scales, a / b = 1 / <psi'>.
    return Linear(left[:, keep], back, root[:, 0] * psi * a / b)


def clustered_spread(best: Estimate, slopes: Array, member: np.ndarray) -> tuple[Array, Array]:
    """Standard errors (T,) and degrees of freedom (T,) of quantities with derivatives (T, P).

    member (n,): a number from 0 on for each point, equal for points that share their errors.
    Where few clusters leave the variance short for noise that is all shared, it is divided by the
    share that it sees. The error is infinite where that is next to none: with three sizes the law
    in N passes through each size's mean, and residuals show nothing of what a size shares.
    """
    fit = linear(best)
    count = int(member.max()) + 1
    weights = fit.basis @ (slopes @ fit.back).T
    adjusted, dof, seen = _working(fit.basis, weights, member)
    total = np.zeros((count, len(slopes)))
    np.add.at(total, member, fit.residual[:, None] * adjusted)
    variance = (total**2).sum(0)
    variance = np.maximum(variance, noise_scales(best)[0] * 1e-12) / np.maximum(seen, SEEN)
    error = np.where(seen < SEEN, np.inf, np.sqrt(variance))
    return error, np.clip(dof, 1.0, max(count - 1, 1))


def clustered_design(best: Estimate, slopes: Array, member: np.ndarray) -> tuple[Array, Array]:
    """What `clustered_spread` makes of where the points lie, whatever their losses.

    The share (T,) of shared noise that CR2 sees, 0 where it is too small for an interval, and the
    degrees of freedom (T,). For independent points of equal noise the expected variance is the
    ordinary one over that share.
    """
    fit = linear(best)
    weights = fit.basis @ (slopes @ fit.back).T
    _, dof, seen = _working(fit.basis, weights, member)
    return np.where(seen < SEEN, 0.0, seen), np.clip(dof, 1.0, max(int(member.max()), 1))


def _working(basis: Array, weights: Array, member: np.ndarray) -> tuple[Array, Array, Array]:
    """The adjusted weights (n, T), Satterthwaite's degrees of freedom (T,), the share seen (T,)."""
    count = int(member.max()) + 1
    order = np.argsort(member, kind="stable")
    adjusted = np.empty_like(weights)
    for mine in np.split(order, np.flatnonzero(np.diff(member[order])) + 1):
        adjusted[mine] = _adjust(basis[mine], weights[mine])
    # Gamma, the covariance of the cluster totals when points are independent: a diagonal of
    # squares, less the products of `shadow` that come from fitting.
    square = np.zeros((count, weights.shape[1]))
    np.add.at(square, member, adjusted**2)
    shadow = np.zeros((count, basis.shape[1], weights.shape[1]))
    np.add.at(shadow, member, basis[:, :, None] * adjusted[:, None, :])
    norm = (shadow**2).sum(1)
    trace = (square - norm).sum(0)
    product = np.einsum("gpt,gqt->tpq", shadow, shadow)
    squared = (square**2 - 2 * square * norm).sum(0) + (product**2).sum((1, 2))
    dof = trace**2 / np.maximum(squared, 1e-300)
    seen = np.minimum(_seen(basis, weights, adjusted, shadow, member), 1.0)
    return adjusted, dof, seen


def _seen(
    basis: Array, weights: Array, adjusted: Array, shadow: Array, member: np.ndarray
) -> Array:
    """Expected CR2 variance (T,) over the true one, where all noise is shared by clusters."""
    count = len(shadow)
    sums = np.zeros((count, basis.shape[1]))
    np.add.at(sums, member, basis)
    true, own = (np.zeros((count, weights.shape[1])) for _ in range(2))
    np.add.at(true, member, weights)
    np.add.at(own, member, adjusted)
    # A unit effect of cluster h moves the total of cluster g by own[g] (h = g) - sums[h] shadow[g].
    found = own**2 - 2 * own * np.einsum("gp,gpt->gt", sums, shadow)
    found += np.einsum("gpt,pq,gqt->gt", shadow, sums.T @ sums, shadow)
    return found.sum(0) / np.maximum((true**2).sum(0), 1e-300)


def _adjust(basis: Array, weights: Array) -> Array:
    """(I - H_gg)^(-1/2) times weights (n_g, T), H_gg = basis basis'; a full direction gets 0."""
    left, values, _ = np.linalg.svd(basis, full_matrices=False)
    leverage = values**2
    spare = np.maximum(1 - leverage, 1e-300)
    stretch = np.where(leverage > FULL, 0.0, spare**-0.5) - 1
    return weights + left @ (stretch[:, None] * (left.T @ weights))


@dataclass(frozen=True)
class Components:
    """Noise of log loss in two parts: of a cluster as a whole, and of each point; variances."""

    shared: float
    own: float
    dof: float

    @property
    def total(self) -> float:
        """Standard deviation of one point about the curve."""
        return float(np.sqrt(self.shared + self.own))


def components(best: Estimate, member: np.ndarray) -> Components:
    """One-way random effects from the residuals, by moments.

    The sums of squares between and within clusters are set equal to their exact expectations
    under fitting: Wallace and Hussain 1969 (Econometrica 37(1), 55-72), for any cluster sizes.
    A negative variance between is 0, and all is then noise of points. dof: Satterthwaite 1946
    for the sum of both.
    """
    fit = linear(best)
    count = int(member.max()) + 1
    size = np.bincount(member, minlength=count).astype(float)
    sums = np.zeros((count, fit.basis.shape[1]))
    np.add.at(sums, member, fit.basis)
    inside = sums.T @ (sums / size[:, None])
    between = (np.bincount(member, fit.residual, count) ** 2 / size).sum()
    within = (fit.residual**2).sum() - between
    points, rank = len(member), fit.basis.shape[1]
    # Traces of each quadratic form with the covariance of own and of shared noise.
    free = np.array([count - np.trace(inside), points - count - rank + np.trace(inside)])
    share = np.array(
        [
            points - 2 * (sums**2).sum() + np.einsum("gp,pq,gq->", sums, inside, sums),
            (sums**2).sum() - np.einsum("gp,pq,gq->", sums, inside, sums),
        ]
    )
    pooled = Components(0.0, (between + within) / max(free.sum(), 1.0), max(free.sum(), 1.0))
    if free.min() < 0.5:
        return pooled
    solution = np.linalg.solve(np.column_stack([free, share]), [between, within])
    own, shared = float(solution[0]), float(solution[1])
    if shared <= 0 or own < 0:
        return pooled
    # own + shared is a weighted sum of the mean squares between and within.
    weights = np.linalg.solve(np.column_stack([free, share]).T, np.ones(2))
    parts = weights * np.array([between, within])
    dof = (own + shared) ** 2 / (parts**2 / free).sum()
    return Components(shared, own, float(np.clip(dof, 1.0, free.sum())))
