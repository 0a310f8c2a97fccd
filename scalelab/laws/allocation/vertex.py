"""The least point of a parabola in a logarithm, with an interval that may be open.

ln y = top + slope (u - centre) + bend (u - centre)^2 by weighted least squares; the vertex is where
its derivative is zero, the ratio -slope / (2 bend). Its interval is Fieller's (1954, Journal of the
Royal Statistical Society B 16, 175-185): all places whose derivative the data do not tell from
zero. Unlike the delta method it is open where the curvature itself is not determined.
"""

from dataclasses import dataclass

import numpy as np

from scalelab.laws.registry import Array
from scalelab.laws.uncertainty.profile import quantile

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Parabola:
    """A fitted parabola of ln y in u. place and value: u and ln y of its least point.

    bend: half its second derivative, above 0. unit (2, 2): covariance of (slope, bend) for
    residuals of variance 1. square: the weighted sum of squared residuals; spare: degrees of
    freedom. reach: first and last u of its points.
    """

    place: float
    value: float
    bend: float
    centre: float
    unit: Array
    square: float
    spare: int
    reach: tuple[float, float]

    @property
    def inside(self) -> bool:
        """Whether the least point lies between the points."""
        return self.reach[0] < self.place < self.reach[1]

    def at(self, u: Array) -> Array:
        """y (n,) at u (n,), both as they are, not in logs."""
        return np.exp(self.value + self.bend * (np.asarray(u, float) - self.place) ** 2)

    def interval(self, variance: float, dof: float, level: float) -> Ends:
        """Ends of the place by Fieller's theorem, for residuals of that variance.

        None for an end that is open: no place so far out is told from the least one.
        """
        # Where b + 2 c v is within t standard errors of 0, v from the centre.
        slope, shift = -2 * self.bend * (self.place - self.centre), 2 * self.bend
        width = quantile(level, dof) ** 2 * variance * self.unit
        square = shift**2 - 4 * width[1, 1]
        if square <= 0:
            return None, None
        middle = slope * shift - 2 * width[0, 1]
        root = np.sqrt(max(middle**2 - square * (slope**2 - width[0, 0]), 0.0))
        low, high = ((-middle + sign * root) / square for sign in (-1, 1))
        return float(self.centre + low), float(self.centre + high)


def parabola(u: Array, log_y: Array, weights: Array | None = None) -> Parabola | None:
    """Fit ln y (n,) at u (n,), three distinct u or more; None where it has no least point."""
    u, log_y = np.asarray(u, float), np.asarray(log_y, float)
    if len(np.unique(u)) < 3:
        return None
    w = np.ones(len(u)) if weights is None else np.asarray(weights, float)
    centre = float((w * u).sum() / w.sum())
    design = np.vander(u - centre, 3, increasing=True)
    normal = design.T @ (w[:, None] * design)
    top, slope, bend = np.linalg.solve(normal, design.T @ (w * log_y))
    if not bend > 0:
        return None
    place = -slope / (2 * bend)
    residual = log_y - design @ np.array([top, slope, bend])
    return Parabola(
        place=float(centre + place),
        value=float(top - slope**2 / (4 * bend)),
        bend=float(bend),
        centre=centre,
        unit=np.asarray(np.linalg.inv(normal)[1:, 1:], float),
        square=float((w * residual**2).sum()),
        spare=len(u) - 3,
        reach=(float(u.min()), float(u.max())),
    )


def within(ends: Ends, first: float, last: float) -> Ends:
    """The ends that lie between the first and the last value tried; the others are open, since a
    parabola says nothing out there."""
    low, high = ends
    return (
        low if low is not None and low >= first else None,
        high if high is not None and high <= last else None,
    )
