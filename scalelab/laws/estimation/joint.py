"""Laws of several groups of runs at once: ln L = ln(E + r_v (x / x0)^-alpha_v), E one for all.

Groups are runs that differ in one setting and are scored on one text. The floor E belongs to the
text (Hoffmann et al. 2022, section 3.3), so it is shared; r_v, the loss above it at the middle size
x0, and the exponent alpha_v are the group's own, or shared too in the models that are compared.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.uncertainty.profile import quantile

FLOORS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.96, 0.98)
"""Starts for E as shares of the least loss."""
FEWEST = 3
"""Sizes of a group: a line has two numbers, and one must be left to tell how good it is."""
MODELS = ("one law", "offsets", "exponents", "floors")
"""What groups have of their own, each with what those before it have."""


@dataclass(frozen=True)
class Group:
    """The points of one value of the setting: x and ln loss, (n,)."""

    value: str
    x: Array
    log_loss: Array


@dataclass(frozen=True)
class Joint:
    """A least-squares fit of ln loss. theta: floors E, then offsets ln r_v, then exponents.

    at: x0. covariance (p, p) is that of Gauss and Newton with the residual variance (Seber and Wild
    2003, section 2.1); a floor at its bound 0 has no variance. floors, offsets, exponents: place in
    theta by group.
    """

    model: str
    at: float
    theta: Array
    covariance: Array
    rss: float
    dof: int
    floors: tuple[int, ...]
    offsets: tuple[int, ...]
    exponents: tuple[int, ...]

    def interval(self, weights: Array, level: float) -> tuple[float, float, float]:
        """A linear function of theta with its interval by Student's t."""
        value = float(weights @ self.theta)
        half = quantile(level, self.dof) * math.sqrt(float(weights @ self.covariance @ weights))
        return value, value - half, value + half

    def one(self, place: int) -> Array:
        """The function that is one number of theta."""
        return np.eye(len(self.theta))[place]

    def predict(self, group: int, x: Array) -> Array:
        """Loss of a group at x."""
        u = np.log(x / self.at)
        floor, offset = self.theta[self.floors[group]], self.theta[self.offsets[group]]
        return floor + np.exp(offset - self.theta[self.exponents[group]] * u)


def joint(groups: Sequence[Group], model: str = "exponents") -> Joint:
    """Fit one of `MODELS` to two groups or more.

    Raises:
        UserError: fewer than two groups, a group of too few sizes, or no degree of freedom.
    """
    from scipy.optimize import least_squares

    for group in groups:
        if len(group.x) < FEWEST:
            raise UserError(
                f"{group.value}: found {len(group.x)} sizes, expected at least {FEWEST} for a law "
                "of its own"
            )
    if len(groups) < 2:
        raise UserError(f"found {len(groups)} values with a law, expected 2 or more to compare")
    count, rank = len(groups), MODELS.index(model)
    places = itertools.count()

    def places_of(own: bool) -> tuple[int, ...]:
        return tuple(next(places) for _ in range(count)) if own else (next(places),) * count

    floors, offsets, exponents = (places_of(rank >= least) for least in (3, 1, 2))
    total = next(places)
    member = np.concatenate([np.full(len(one.x), k) for k, one in enumerate(groups)])
    x = np.concatenate([one.x for one in groups])
    y = np.concatenate([one.log_loss for one in groups])
    if len(y) <= total:
        raise UserError(
            f"found {len(y)} sizes over all values, expected more than the {total} numbers of "
            f"the model with {model} of each value"
        )
    at = float(np.exp(np.log(x).mean()))
    u = np.log(x / at)
    index = [np.array(part)[member] for part in (floors, offsets, exponents)]
    top = np.full(total, np.inf)
    for place, group in zip(floors, groups, strict=True):
        top[place] = min(top[place], math.exp(group.log_loss.min()) * (1 - 1e-9))
    bottom = np.where(np.isfinite(top), 0.0, -np.inf)

    def parts(theta: Array) -> tuple[Array, Array]:
        above = np.exp(theta[index[1]] - theta[index[2]] * u)
        return above, theta[index[0]] + above

    def residuals(theta: Array) -> Array:
        return np.log(parts(theta)[1]) - y  # type: ignore[no-any-return]

    def slopes(theta: Array) -> Array:
        above, loss = parts(theta)
        out = np.zeros((len(y), total))
        rows = np.arange(len(y))
        for place, slope in zip(index, (1 / loss, above / loss, -u * above / loss), strict=True):
            np.add.at(out, (rows, place), slope)
        return out

    def start(share: float) -> Array:
        theta = np.zeros(total)
        theta[: len(set(floors))] = share * top[: len(set(floors))]
        design = np.zeros((len(y), total))
        np.add.at(design, (np.arange(len(y)), index[1]), 1.0)
        np.add.at(design, (np.arange(len(y)), index[2]), -u)
        above = np.log(np.exp(y) - theta[index[0]])
        lines = slice(len(set(floors)), total)
        theta[lines] = np.linalg.lstsq(design[:, lines], above, rcond=None)[0]
        return theta

    tried = [
        least_squares(
            *(residuals, start(share), slopes), bounds=(bottom, top), xtol=1e-14, ftol=1e-14
        )
        for share in FLOORS
    ]
    best = min(tried, key=lambda found: float(found.cost))
    free = best.x > bottom + 1e-9
    jacobian = slopes(best.x)[:, free]
    dof = len(y) - int(free.sum())
    covariance = np.zeros((total, total))
    inverse = np.linalg.pinv(jacobian.T @ jacobian)
    covariance[np.ix_(free, free)] = inverse * 2 * best.cost / dof
    rss = 2 * float(best.cost)
    return Joint(model, at, best.x, covariance, rss, dof, floors, offsets, exponents)


def f_test(small: Joint, large: Joint, noise: Joint) -> tuple[float, int, float]:
    """F, its first degrees of freedom and p of what `large` has beyond `small`, against the
    residual variance of `noise` (Draper and Smith 1998, section 6.1, the extra sum of squares).
    """
    from scipy.special import fdtrc

    extra = len(large.theta) - len(small.theta)
    gained = max(small.rss - large.rss, 0.0)
    ratio = gained / extra / (noise.rss / noise.dof)
    return ratio, extra, float(fdtrc(extra, noise.dof, ratio))
