"""How sure a fit is: one method for its parameters, its curve and everything that follows.

The rule that `auto` stands for follows from the coverage measured in docs/statistics.md.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array, Functional
from scalelab.laws.runs.clusters import RUN_COLUMNS
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.bootstrap import (
    Bootstrap,
    bootstrap_estimate,
    simulate_estimate,
    spread,
)
from scalelab.laws.uncertainty.profile import ordinary_spread, profile, quantile
from scalelab.laws.uncertainty.sandwich import clustered_spread, components
from scalelab.laws.uncertainty.springs import Target, gradients

MANY = 20
"""Independent points, or clusters, from which noise need not be taken as even."""


@dataclass(frozen=True)
class Uncertainty:
    """A fit, the method that was chosen, the clusters of its points, and the resamples if any.

    method: profile, robust, bootstrap or parametric. member (n,): a cluster number a point;
    clustered_by: the column that says so, None where each point stands alone.
    """

    best: Estimate
    method: str
    member: np.ndarray
    clustered_by: str | None = None
    drawn: Bootstrap | None = None

    @property
    def resamples(self) -> Bootstrap | None:
        """The resamples where enough of them determined the law."""
        return self.drawn if self.drawn is not None and self.drawn.usable else None

    @property
    def clusters(self) -> int:
        """Number of independent pieces of evidence."""
        return int(self.member.max()) + 1

    @property
    def what(self) -> str:
        """What a cluster is, in words."""
        if self.clustered_by in RUN_COLUMNS:
            return "runs"
        return "sizes" if self.clustered_by in (None, "N", "N_total") else "groups"

    def spread(self, slopes: Array) -> tuple[Array, Array]:
        """Standard errors and degrees of freedom (T,) of quantities with derivatives (T, P)."""
        if self.method == "robust":
            return clustered_spread(self.best, slopes, self.member)
        return ordinary_spread(self.best, slopes)

    def ends(self, targets: Sequence[Target], level: float) -> Array:
        """Ends (T, 2) of the interval of each target, in its own (linear or log) scale.

        NaN where too few of the resamples give the quantity a value.
        """
        if not len(targets):
            return np.empty((0, 2))
        drawn = self.resamples
        if drawn is None:
            return profile(self.best, targets, level, self.spread)
        return np.array([self._percentiles(drawn, one, level) for one in targets])

    def _percentiles(self, drawn: Bootstrap, target: Target, level: float) -> Array:
        values = self._values(drawn, target)
        values = values[~np.isnan(values)]
        if len(values) < drawn.min_share * drawn.n:
            return np.full(2, np.nan)
        return drawn.ends(values, level)

    def _values(self, drawn: Bootstrap, target: Target) -> Array:
        """A target over the resamples, in its own scale."""
        theta = drawn.theta
        if target.u is not None:
            return np.log(self.best.form.value(theta, target.u[None])[:, 0])
        if target.functional is not None:
            return drawn.coordinate(target.functional)
        assert target.function is not None
        with np.errstate(all="ignore"):
            more = () if target.at is None else (target.at,)
            return np.asarray(target.function(drawn.natural(), *more), float)

    def errors(self, functionals: Sequence[Functional]) -> list[float]:
        """Standard errors of natural parameters."""
        if self.resamples is not None:
            drawn = [self.resamples.coordinate(one) for one in functionals]
            return [
                spread(np.exp(v) if one.exponentiate else v)
                for one, v in zip(functionals, drawn, strict=True)
            ]
        slopes = gradients(self.best, [Target(functional=one) for one in functionals])
        values = [one.natural(self.best.theta) if one.exponentiate else 1.0 for one in functionals]
        return [float(v * e) for v, e in zip(values, self.spread(slopes)[0], strict=True)]

    def noise(self, level: float) -> float:
        """Half width of the interval of one new run about the curve, on the log scale.

        Where points are clustered, a new run has an effect of its own, as its cluster has.
        """
        best = self.best
        if self.clustered_by is None:
            return quantile(level, best.dof) * best.sigma
        if best.problem.delta is not None:
            return quantile(level, max(self.clusters - 1, 1)) * best.sigma
        parts = components(best, self.member)
        return quantile(level, parts.dof) * parts.total

    def of(self, best: Estimate, kept: np.ndarray) -> "Uncertainty":
        """The same method for a fit to some of the points, resampled anew where it resamples."""
        member = np.unique(self.member[kept], return_inverse=True)[1]
        other = dataclasses.replace(self, best=best, member=member, drawn=None)
        if self.resamples is None:
            return dataclasses.replace(other, method=_fallback(other))
        return _resampled(other, self.resamples.n, self.resamples.seed)

    def describe(self) -> str:
        """The method in words, with its numbers."""
        if self.resamples is not None:
            drawn = self.resamples
            lost = drawn.n - drawn.n_ok
            seed = f"(seed {drawn.seed}" + (f", {lost} degenerate left out)" if lost else ")")
            if drawn.kind == "simulated":
                return f"percentiles of {drawn.n_ok} fits to simulated losses {seed}"
            return f"percentiles of {drawn.n_ok} resamples of whole {self.what} {seed}"
        if self.method == "robust":
            errors = f"cluster-robust standard errors (CR2, {self.clusters} {self.what})"
            if self.clustered_by is None:
                errors = "standard errors for uneven noise (HC2)"
            return (
                f"profile likelihood scaled to {errors}, Student's t with degrees of freedom "
                "by quantity"
            )
        return f"profile likelihood, Student's t with {self.best.dof} degrees of freedom"

    def to_json(self, level: float) -> dict[str, object] | None:
        """The counts of the resamples, None without any."""
        return self.drawn.to_json(level) if self.drawn else None


def choose(clustered: bool, clusters: int, objective: str) -> str:
    """The method of `auto`; docs/statistics.md has the coverage behind it."""
    if clusters < MANY:
        return "robust" if clustered else "profile"
    return "robust" if objective == "least_squares" else "bootstrap"


def uncertainty(
    best: Estimate, settings: Settings, member: np.ndarray, clustered_by: str | None
) -> Uncertainty:
    """The method that the settings ask for, with its resamples drawn.

    Where too few resamples determine the law, the intervals are from the profile likelihood.
    """
    member = np.unique(member, return_inverse=True)[1]
    method = settings.intervals
    if method == "auto":
        clusters = int(member.max()) + 1
        method = choose(clustered_by is not None, clusters, settings.chosen_objective)
    found = Uncertainty(best, method, member, clustered_by)
    if method not in ("bootstrap", "parametric"):
        return found
    return _resampled(found, settings.resamples, settings.seed)


def _resampled(found: Uncertainty, n: int, seed: int) -> Uncertainty:
    if found.method == "bootstrap":
        drawn = bootstrap_estimate(found.best, n, seed, found.member)
    else:
        shared = None if found.clustered_by is None else found.member
        drawn = simulate_estimate(found.best, n, seed, shared)
    method = found.method if drawn.usable else _fallback(found)
    return dataclasses.replace(found, method=method, drawn=drawn)


def _fallback(found: Uncertainty) -> str:
    """The method without resamples for the same points."""
    if found.method in ("profile", "robust"):
        return found.method
    return choose(found.clustered_by is not None, found.clusters, "least_squares")
