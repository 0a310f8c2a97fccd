"""Fits of resamples: whole clusters drawn with replacement, or data simulated from the fit.

The case bootstrap draws whole sizes, or whole runs, not rows: Efron and Tibshirani 1993, sections
8 and 13. Rows of one size share its errors, and so do the checkpoints of one run: the cluster is
the unit of evidence. The parametric bootstrap keeps x and simulates the losses: Davison and
Hinkley 1997, section 2.2. Resamples that cannot determine the law are counted and shown, never
quietly dropped.
"""

from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimation.estimate import LARGEST_LOG, Estimate, resimulated, reweighted
from scalelab.laws.estimation.solver import Solution
from scalelab.laws.registry import Array, Functional
from scalelab.laws.uncertainty.sandwich import components
from scalelab.seeds import stream

BATCH = 2_000_000
"""Numbers in one array of derivatives, resamples x points x parameters: 16 MB."""
PORTION = 8_000_000
"""Numbers in one array of drawn weights or losses, resamples x points: 64 MB."""
MIN_SHARE = 0.9
SINGULAR = 1e9
"""Condition number of J'J, scaled to a unit diagonal, above which parameters are exchangeable."""


@dataclass(frozen=True)
class Bootstrap:
    """Fits of resamples. theta (n_ok, P) in the internal coordinates of `best`.

    n_failed: resamples with fewer distinct sizes than parameters, with singular curvature, without
    a minimum or with a coefficient beyond e^60. n_saturated: resamples with exactly as many sizes
    as parameters; they fit perfectly and say nothing, so they are not in n_ok either. Too few ok
    ones (below `min_share`) give no interval.
    """

    best: Estimate
    n: int
    seed: int
    n_ok: int
    n_failed: int
    n_saturated: int
    theta: Array
    clusters: int
    kind: str = "cases"
    min_share: float = MIN_SHARE

    @property
    def usable(self) -> bool:
        """Whether enough resamples determined the law to speak of intervals."""
        return self.n_ok >= self.min_share * self.n and self.n_ok > 1

    def parameter(self, name: str) -> Array:
        """Natural values (n_ok,) of one parameter."""
        one = self.best.functional(name)
        return np.exp(self.coordinate(one)) if one.exponentiate else self.coordinate(one)

    def coordinate(self, one: Functional) -> Array:
        """A linear functional of theta (n_ok,); infinite where it rests on a bound of a coefficient
        in log space, which is there to end the search and says nothing of the coefficient.
        """
        values = self.theta @ one.coefficients + one.constant
        if not one.exponentiate or np.count_nonzero(one.coefficients) > 1:
            return values
        place = int(np.argmax(one.coefficients))
        low, high = (ends[place] for ends in self.best.form.bounds(self.best.problem.u))
        at = self.theta[:, place]
        return np.where(at >= high, np.inf, np.where(at <= low, -np.inf, values))

    def natural(self) -> dict[str, Array]:
        """Natural values of every parameter, each (n_ok,)."""
        return {name: self.parameter(name) for name in self.best.base.parameters}

    def standard_errors(self) -> dict[str, float] | None:
        """Standard deviation of each natural parameter over the resamples; NaN for an open one."""
        if not self.usable:
            return None
        return {name: spread(self.parameter(name)) for name in self.best.determined}

    def intervals(self, level: float = 0.95) -> dict[str, list[float | None]] | None:
        """Percentile intervals of the parameters, None for an open end; None in all when too few
        resamples were ok.
        """
        if not self.usable:
            return None
        return {
            name: [
                float(v) if np.isfinite(v) else None for v in self.ends(self.parameter(name), level)
            ]
            for name in self.best.determined
        }

    def ends(self, values: Array, level: float) -> Array:
        """Ends (2,) of the interval of a quantity from its values over the resamples.

        Case bootstrap: the expanded percentiles of Hesterberg 2015 (American Statistician 69(4),
        371-386), at the normal probability of t sqrt(G / (G - k)) with Student's t on G - k
        degrees of freedom for G clusters, since the spread of resamples is that much too narrow.
        k is the number of parameters, or 1 where a cluster holds several points. Simulated
        losses have both in their noise already.
        """
        if self.kind == "simulated":
            return _outer(values, 0.5 - level / 2, 0.5 + level / 2)
        from scipy.special import ndtr, stdtrit

        alone = self.clusters == len(self.best.problem.y)
        spare = max(self.clusters - (len(self.best.theta) if alone else 1), 1)
        away = stdtrit(spare, 0.5 + level / 2) * np.sqrt(self.clusters / spare)
        return _outer(values, float(ndtr(-away)), float(ndtr(away)))

    def to_json(self, level: float = 0.95) -> dict[str, object]:
        """Counts, seed and intervals, ready for strict JSON."""
        return {
            "kind": self.kind,
            "n": self.n,
            "seed": self.seed,
            "n_ok": self.n_ok,
            "n_failed": self.n_failed,
            "n_saturated": self.n_saturated,
            "min_share": self.min_share,
            "intervals": self.intervals(level),
        }


def bootstrap_estimate(
    best: Estimate, n: int = 1000, seed: int = 0, cluster: np.ndarray | None = None
) -> Bootstrap:
    """Draw n resamples of the clusters and fit each from the full fit.

    cluster (n_points,): a number for each point, equal for points that are drawn together; by
    default each point (one size) is its own. The same seed gives the same numbers whatever else
    ran before.
    """
    points, size = len(best.problem.y), len(best.theta)
    member = np.arange(points) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    clusters = int(member.max()) + 1
    generator = np.random.default_rng(stream(seed, "bootstrap of sizes"))
    kept, saturated = [], 0
    for rows in _portions(n, points):
        drawn = generator.integers(clusters, size=(rows, clusters))
        drawn += clusters * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        counts = times[:, member]
        distinct = (counts > 0).sum(1)
        saturated += int((distinct == size).sum())
        for part in _batches(best, np.flatnonzero(distinct > size)):
            weights = counts[part] * best.problem.weights
            found = reweighted(best, weights)
            kept.append(found.theta[_sound(best, found) & (condition(best, weights) < SINGULAR)])
    return _bootstrap(best, n, seed, kept, saturated, "cases", clusters)


def simulate_estimate(
    best: Estimate, n: int = 1000, seed: int = 0, member: np.ndarray | None = None
) -> Bootstrap:
    """Simulate n sets of losses at the same x from the fit and its noise, and fit each.

    Least squares: normal noise with the residual variance, which divides by n - P and so is
    inflated by n / (n - P). Points of one cluster (member (n_points,)) share a part of it, with
    the variances of `sandwich.components`. The variances are themselves drawn, s^2 nu / chi^2_nu
    (Gelman et al. 2013, section 14.2): for a linear law the percentiles are then those of
    Student's t, not of the normal. Robust objectives: residuals drawn with replacement and
    inflated alike, since a normal would lose the outliers.
    """
    generator = np.random.default_rng(stream(seed, "simulated losses"))
    points = len(best.problem.y)
    root = 1 / np.sqrt(best.problem.weights)
    fitted = best.problem.y - best.residuals
    kept = []
    for rows in _portions(n, points):
        noise = _noise(best, rows, member, generator)
        for part in _batches(best, np.arange(rows)):
            found = resimulated(best, fitted + noise[part] * root)
            kept.append(found.theta[_sound(best, found)])
    clusters = points if member is None else int(member.max()) + 1
    return _bootstrap(best, n, seed, kept, 0, "simulated", clusters)


def _noise(
    best: Estimate, n: int, member: np.ndarray | None, generator: np.random.Generator
) -> Array:
    """Errors of log loss (n, points) of points of mean weight."""
    points, spare = len(best.problem.y), max(best.dof, 1)
    if best.problem.delta is not None:
        pool = best.residuals / (1 / np.sqrt(best.problem.weights))
        noise = generator.choice(pool - pool.mean(), (n, points)) * np.sqrt(points / spare)
        return noise * np.sqrt(spare / generator.chisquare(spare, n))[:, None]
    if member is None:
        scale = best.sigma * np.sqrt(spare / generator.chisquare(spare, n))
        return generator.normal(size=(n, points)) * scale[:, None]
    return _clustered_noise(best, n, member, generator)


def _clustered_noise(
    best: Estimate, n: int, member: np.ndarray, generator: np.random.Generator
) -> Array:
    parts, count = components(best, member), int(member.max()) + 1
    spare = max(count - len(best.theta), 1), max(len(member) - count, 1)
    shared, own = (
        np.sqrt(variance * dof / generator.chisquare(dof, n))[:, None]
        for variance, dof in zip((parts.shared, parts.own), spare, strict=True)
    )
    common = generator.normal(size=(n, count))[:, member]
    return shared * common + own * generator.normal(size=(n, len(member)))


def condition(best: Estimate, weights: Array) -> Array:
    """Condition number (S,) of J'WJ for weights (S, n), scaled to a unit diagonal.

    With such a scaling it is the squared one of Belsley, Kuh and Welsch 1980, section 3.3.
    """
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    jacobian = slopes[0] / loss[0][:, None]
    matrix = np.einsum("sn,np,nq->spq", weights, jacobian, jacobian, optimize=True)
    scale = np.sqrt(np.maximum(np.diagonal(matrix, axis1=1, axis2=2), 1e-300))
    values = np.linalg.eigvalsh(matrix / scale[:, :, None] / scale[:, None, :])
    return values[:, -1] / np.maximum(values[:, 0], 1e-300)


def spread(values: Array) -> float:
    """Standard deviation of values (n,); NaN where one is infinite."""
    return float(values.std(ddof=1)) if np.isfinite(values).all() else float("nan")


def _outer(values: Array, low: float, high: float) -> Array:
    """Quantiles (2,); between a finite and an infinite value the outer one."""
    if np.isfinite(values).all():
        return np.quantile(values, [low, high])
    ends = [np.quantile(values, low, method="lower"), np.quantile(values, high, method="higher")]
    return np.array(ends)


def _portions(n: int, points: int) -> list[int]:
    """How many resamples are drawn at a time, so that their numbers stay below PORTION."""
    most = max(1, PORTION // points)
    return [min(most, n - start) for start in range(0, n, most)]


def _batches(best: Estimate, rows: np.ndarray) -> list[np.ndarray]:
    most = max(1, BATCH // (len(best.problem.y) * len(best.theta)))
    return np.array_split(rows, max(1, -(-len(rows) // most)))


def _sound(best: Estimate, found: Solution) -> np.ndarray:
    """Which fits (S,) are a minimum with coefficients that have not run away."""
    with np.errstate(over="ignore"):
        values = [best.functional(n).natural(found.theta) for n in best.base.parameters]
    return found.converged & (np.abs(values) < np.exp(LARGEST_LOG)).all(0)


def _bootstrap(
    best: Estimate,
    n: int,
    seed: int,
    kept: list[Array],
    saturated: int,
    kind: str,
    clusters: int,
) -> Bootstrap:
    theta = np.concatenate(kept)
    return Bootstrap(
        best=best,
        n=n,
        seed=seed,
        n_ok=len(theta),
        n_failed=n - saturated - len(theta),
        n_saturated=saturated,
        theta=theta,
        clusters=clusters,
        kind=kind,
    )
