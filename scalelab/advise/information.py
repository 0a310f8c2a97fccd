"""Expected half-widths from the information matrix: the delta method with Student's t.

Least squares of log loss with noise of variance v_i at point i: the covariance of theta is
(J'J)^-1 J'VJ (J'J)^-1, with J the derivatives of log loss (Bates and Watts 1988, section 2.3;
Atkinson, Donev and Tobias 2007, chapter 17, for its use in design). An interval is not as wide as
that alone: it has the quantile of Student's t on the degrees of freedom, and the noise that the
residuals happen to show, a chi on the same degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array
from scalelab.laws.uncertainty.bootstrap import SINGULAR, condition
from scalelab.laws.uncertainty.profile import quantiles
from scalelab.laws.uncertainty.sandwich import clustered_design


@dataclass(frozen=True)
class Spread:
    """Of T quantities: standard error, the error that the fit will show on average (root mean
    square), and its degrees of freedom, each (T,); dof 0 where the fit can give no interval.
    """

    error: Array
    shown: Array
    dof: Array

    def half_width(self, level: float, share: float = 0.5) -> Array:
        """Quantile `share` of the half-widths (T,) over studies; infinite without an interval."""
        from scipy.special import chdtri

        dof = np.maximum(self.dof, 1.0)
        # chdtri wants the probability above.
        chi = np.sqrt(chdtri(dof, 1 - share) / dof)
        shown = np.where(self.dof > 0, self.shown, np.inf)
        return quantiles(level, dof) * chi * shown


def jacobian(best: Estimate, u: Array | None = None) -> Array:
    """Derivatives of log loss (n, P) by theta, at the points or at centred logs u (n, m)."""
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u if u is None else u)
    return slopes[0] / loss[0][:, None]


def is_singular(best: Estimate) -> bool:
    """Whether a direction of the parameters leaves every loss as it is, to rounding."""
    return bool(condition(best, best.problem.weights[None])[0] > SINGULAR)


def spread(
    best: Estimate, slopes: Array, variance: Array, member: np.ndarray | None = None
) -> Spread:
    """Of quantities with derivatives (T, P), for noise of variance (n,) at the points of a design.

    member (n,): clusters, for the cluster-robust intervals of the fit; None for the ordinary ones.
    """
    rows = jacobian(best)
    count, size = rows.shape
    none = np.full(len(slopes), np.inf)
    if count <= size or is_singular(best):
        return Spread(none, none, np.zeros(len(slopes)))
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    weights = left @ ((slopes @ right.T) / values).T
    error = np.sqrt((variance[:, None] * weights**2).sum(0))
    if member is None:
        leverage = (left**2).sum(1)
        mean = float((variance * (1 - leverage)).sum()) / (count - size)
        shown = np.sqrt(mean * (weights**2).sum(0))
        return Spread(error, shown, np.full(len(slopes), float(count - size)))
    seen, dof = clustered_design(best, slopes, member)
    shown = error / np.sqrt(np.maximum(seen, 1e-300))
    return Spread(error, np.where(seen > 0, shown, np.inf), np.where(seen > 0, dof, 0.0))
