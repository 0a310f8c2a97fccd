"""Case bootstrap by cluster: whole sizes are drawn with replacement, not rows.

Efron and Tibshirani 1993, sections 8 and 13 (percentile intervals). Rows of one size share its
errors, so a size is the unit of evidence. Resamples that cannot determine the law are counted and
shown, never quietly dropped.
"""

from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimate import Estimate, reweighted
from scalelab.laws.registry import Array
from scalelab.seeds import stream

CHUNK = 250
MIN_SHARE = 0.9


@dataclass(frozen=True)
class Bootstrap:
    """Fits of resamples. theta (n_ok, P) in the internal coordinates of `best`.

    n_failed: resamples with fewer distinct sizes than parameters, or without a minimum.
    n_saturated: resamples with exactly as many sizes as parameters; they fit perfectly and say
    nothing, so they are not in n_ok either. Too few ok ones (below `min_share`) give no interval.
    """

    best: Estimate
    n: int
    seed: int
    n_ok: int
    n_failed: int
    n_saturated: int
    theta: Array
    min_share: float = MIN_SHARE

    @property
    def usable(self) -> bool:
        """Whether enough resamples determined the law to speak of intervals."""
        return self.n_ok >= self.min_share * self.n and self.n_ok > 1

    def parameter(self, name: str) -> Array:
        """Natural values (n_ok,) of one parameter."""
        best = self.best
        return best.form.functional(name, best.centre, best.log_scale).natural(self.theta)

    def standard_errors(self) -> dict[str, float] | None:
        """Standard deviation of each natural parameter over the resamples."""
        if not self.usable:
            return None
        return {name: float(self.parameter(name).std(ddof=1)) for name in self.best.form.parameters}

    def intervals(self, level: float = 0.95) -> dict[str, list[float]] | None:
        """Percentile intervals of the parameters; None when too few resamples were ok."""
        if not self.usable:
            return None
        return {
            name: [float(v) for v in np.quantile(self.parameter(name), _ends(level))]
            for name in self.best.form.parameters
        }

    def log_loss(self, u: Array, level: float) -> Array:
        """Ends (n, 2) of percentile intervals of log loss at centred logs u (n, m)."""
        predicted = np.log(self.best.form.value(self.theta, u)) + self.best.log_scale
        return np.quantile(predicted, _ends(level), axis=0).T

    def to_json(self) -> dict[str, object]:
        """Counts, seed and intervals, ready for strict JSON."""
        return {
            "n": self.n,
            "seed": self.seed,
            "n_ok": self.n_ok,
            "n_failed": self.n_failed,
            "n_saturated": self.n_saturated,
            "min_share": self.min_share,
            "intervals": self.intervals(),
        }


def _ends(level: float) -> list[float]:
    return [0.5 - level / 2, 0.5 + level / 2]


def bootstrap_estimate(best: Estimate, n: int = 1000, seed: int = 0) -> Bootstrap:
    """Draw n resamples of the points (each one size) and fit each from the full fit.

    The same seed gives the same numbers whatever else ran before.
    """
    points, size = len(best.problem.y), len(best.theta)
    generator = np.random.default_rng(stream(seed, "bootstrap of sizes"))
    counts = generator.multinomial(points, np.full(points, 1 / points), size=n)
    distinct = (counts > 0).sum(1)
    fitted = np.flatnonzero(distinct > size)
    kept = []
    for part in np.array_split(fitted, max(1, -(-len(fitted) // CHUNK))):
        found = reweighted(best, counts[part].astype(float))
        kept.append(found.theta[found.converged])
    theta = np.concatenate(kept)
    saturated = int((distinct == size).sum())
    return Bootstrap(
        best=best,
        n=n,
        seed=seed,
        n_ok=len(theta),
        n_failed=n - saturated - len(theta),
        n_saturated=saturated,
        theta=theta,
    )
