"""What is known before the next run: the fit so far, its noise, and parameters that it allows.

An optimal design for a nonlinear law depends on the parameters, which are what is not known. The
criterion is therefore averaged over draws of them: pseudo-Bayesian design, Chaloner and Verdinelli
1995 (Statistical Science 10(3), 273-304), section 4.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.advise.information import is_singular
from scalelab.advise.prior import internal
from scalelab.advise.quantities import Asked, parse
from scalelab.errors import UserError
from scalelab.laws import published, registry
from scalelab.laws.estimation.estimate import Estimate, estimate
from scalelab.laws.estimation.objective import Problem
from scalelab.laws.estimation.solver import minimise
from scalelab.laws.fitting import fit
from scalelab.laws.judgement import sanity
from scalelab.laws.registry import Array, Form
from scalelab.laws.runs.points import Points, prepare
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.intervals import Uncertainty, uncertainty
from scalelab.seeds import stream

if TYPE_CHECKING:
    from pandas import DataFrame

DRAWS = 48
USUAL_NOISE, USUAL_WEIGHT, ENOUGH = 0.003, 2.0, 5
"""Relative noise of a run that two degrees of freedom stand for, where fewer than five are known.
"""
WIDTH, LEAST, LOG_WIDTH = 0.5, 0.3, 2.0
"""Prior standard deviations: half of a floor or exponent (at least half of 0.3), e^2 of a
coefficient."""


@dataclass(frozen=True)
class State:
    """A study so far. ends (2,): the interval of the quantity now, as a fit prints it.

    noise: standard deviation of log loss of one point; draws (S, P): parameters that the runs
    allow, internal coordinates of `best`; precision (P,): of the wide prior, added to the
    information. regularised: whether the prior decides something. notes: sentences on that.
    """

    asked: Asked
    best: Estimate
    points: Points
    sure: Uncertainty
    value: float
    ends: Array
    level: float
    noise: float
    draws: Array
    precision: Array
    regularised: bool
    notes: tuple[str, ...]

    @property
    def counts(self) -> Array:
        """Rows behind each point (n,)."""
        return np.array(self.points.seeds, float)

    @property
    def half_width(self) -> float:
        """Of the interval now."""
        return float(self.asked.half_width(self.ends))


def state(
    table: "DataFrame",
    law: str,
    quantity: str,
    level: float = 0.95,
    noise: float | None = None,
    seed: int = 0,
    **keywords: Any,
) -> State:
    """Fit a law to the runs so far and draw the parameters that they allow.

    noise: relative standard deviation of a run's loss where it is known; by default it is pooled
    from residuals and seeds. keywords: x, y, cluster, cell, fixed, tied of `laws.fit`.

    Raises:
        UserError: as `laws.fit`; an unknown quantity; noise that is no positive number.
    """
    if noise is not None and not (np.isfinite(noise) and noise > 0):
        raise UserError(f"noise is {noise}: expected a positive number such as 0.003 for 0.3%")
    form = registry.get(law)
    asked = parse(quantity, form)
    best, points, sure, notes = _fitted(table, form, level, keywords)
    told = _noise(best, points, notes) if noise is None else noise
    centre, sd = _wide(best)
    flat = is_singular(best)
    open_now = True
    ends = np.array([-np.inf, np.inf])
    if not flat:
        ends = asked.natural(best, sure.ends([asked.target(best)], level)[0])
        open_now = not np.isfinite(asked.half_width(ends))
    at_bound = _at_bound(best)
    regularised = flat or open_now or bool(at_bound)
    if regularised:
        best = _with_prior(best, centre, sd, told)
        why = (
            "the runs so far do not determine the law"
            if flat
            else f"{', '.join(at_bound)} is at the end of its range"
            if at_bound
            else f"the interval of {quantity} is open"
        )
        notes.append(
            f"{why}: a wide prior (floor and exponents known to half of their value, coefficients "
            f"to a factor of {np.exp(LOG_WIDTH):.0f}) takes part in the choice"
        )
    return State(
        asked=asked,
        best=best,
        points=points,
        sure=sure,
        value=asked.value(best),
        ends=ends,
        level=level,
        noise=told,
        draws=_draws(best, told, centre, sd, seed),
        precision=1 / sd**2,
        regularised=regularised,
        notes=tuple(notes),
    )


def _fitted(
    table: "DataFrame", form: Form, level: float, keywords: dict[str, Any]
) -> tuple[Estimate, Points, Uncertainty, list[str]]:
    """As `laws.fit`, but for runs of one variable the law that was asked for stays."""
    found = fit(form.name, table, level=level, **keywords)
    if found.law == form.name:
        return found.best, found.points, found.sure, []
    x = keywords.get("x")
    named = [x] if isinstance(x, str) else list(x or ())
    columns = (*named, *form.columns[len(named) :])
    rest = [keywords.get(key) for key in ("cluster", "noise", "cell")]
    points = prepare(table, columns, keywords.get("y", "loss_nats"), *rest)
    settings = Settings(
        level=level, fixed=keywords.get("fixed") or {}, tied=keywords.get("tied") or ()
    )
    sanity.check_sizes(form, points, settings.constraints)
    best = estimate(form, points.x, points.log_loss, constraints=settings.constraints)
    sure = uncertainty(best, settings, points.cluster, points.clustered_by)
    names = " and ".join(columns[:2])
    return best, points, sure, [f"{names} are one variable in the runs so far"]


def _noise(best: Estimate, points: Points, notes: list[str]) -> float:
    """Standard deviation of log loss of one point, pooled from residuals and seeds.

    Residuals alone are luck where few degrees of freedom are left, and seeds are a lower bound:
    they lack what a size as a whole gets wrong.
    """
    spare = max(best.dof, 0)
    squares = float((best.problem.weights * best.residuals**2).sum())
    several = np.array(points.seeds) > 1
    seeds, weight = 0.0, 0
    if several.any():
        relative = points.seed_sd[several] / np.exp(points.log_loss[several])
        each = np.array(points.seeds)[several] - 1
        seeds, weight = float((each * relative**2).sum()), int(each.sum())
    least = np.sqrt(seeds / weight) if weight else 0.0
    if spare + weight < ENOUGH:
        notes.append(
            f"{spare + weight} degrees of freedom hardly show the noise: it is pooled with a usual "
            f"{USUAL_NOISE:.1%} that counts for {USUAL_WEIGHT:.0f}"
        )
        squares, spare = squares + USUAL_WEIGHT * USUAL_NOISE**2, spare + int(USUAL_WEIGHT)
    pooled = np.sqrt((squares + seeds) / (spare + weight))
    return float(max(pooled, least, 1e-5))


def _wide(best: Estimate) -> tuple[Array, Array]:
    """Centre and standard deviations (P,) of a wide prior in the coordinates of the fit.

    The centre is a published law of the form where there is one, else the fit. A fit that the runs
    do not determine is no centre: it may lie anywhere, such as where one term of the law is nought.
    """
    form, theta = best.base, best.theta
    centre = theta.copy()
    names = [one for one in published.names() if published.get(one).law == form.name]
    logs = np.array([form.functional(p, best.centre, 0.0).exponentiate for p in form.parameters])
    if len(theta) < len(logs):  # constrained: the free coordinates
        free = getattr(best.form, "free", np.arange(len(logs)))
        logs = logs[free]
    elif names:
        centre = internal(form, published.get(names[0]).params, best.centre, best.log_scale)
    lower, upper = best.form.bounds(best.problem.u)
    centre = np.clip(centre, lower, upper)
    return centre, np.where(logs, LOG_WIDTH, WIDTH * np.maximum(np.abs(centre), LEAST))


def _at_bound(best: Estimate) -> list[str]:
    """Parameters whose coordinate lies on an end of its range."""
    lower, upper = best.form.bounds(best.problem.u)
    on = (best.theta <= lower + 1e-9) | (best.theta >= upper - 1e-9)
    return [
        name
        for name in best.determined
        if (on & (np.abs(best.functional(name).coefficients) > 0)).any()
        and not best.functional(name).exponentiate
    ]


@dataclass(frozen=True)
class Posterior:
    """Squares of log residuals and of the distance from a wide prior, for a batch: y (S, n) or
    (n,), centre (S, P), pull (P,): the noise's variance over the prior's.
    """

    problem: Problem
    centre: Array
    pull: Array

    def __call__(self, theta: Array, rows: np.ndarray) -> tuple[Array, Array, Array]:
        """Objective (s,), gradient (s, P), Hessian (s, P, P) at theta for those batch entries."""
        value, gradient, hessian = self.problem(theta, rows)
        off = theta - self.centre[rows]
        value = value + (self.pull * off**2).sum(1) / 2
        return value, gradient + self.pull * off, hessian + np.diag(self.pull)


def _with_prior(best: Estimate, centre: Array, sd: Array, noise: float) -> Estimate:
    """The posterior mode."""
    start = np.stack([best.theta, centre, (best.theta + centre) / 2])
    posterior = Posterior(best.problem, np.repeat(centre[None], 3, 0), noise**2 / sd**2)
    found = minimise(posterior, start, *best.form.bounds(best.problem.u))
    return dataclasses.replace(best, theta=found.theta[int(np.argmin(found.value))])


def _draws(best: Estimate, noise: float, centre: Array, sd: Array, seed: int) -> Array:
    """Parameters (S, P): the estimate, then the mode for losses and a prior that are each moved by
    their own noise, which samples the posterior (exactly, for a linear law): Bardsley, Solonen,
    Haario and Laine 2014 (SIAM J. Sci. Comput. 36(4), A1895). Such draws follow the valley in which
    the floor trades against the exponents; those of a normal approximation leave it.
    """
    generator = np.random.default_rng(stream(seed, "parameters that the runs allow"))
    count, problem = DRAWS - 1, best.problem
    y = problem.y + noise * generator.normal(size=(count, len(problem.y)))
    moved = centre + sd * generator.normal(size=(count, len(sd)))
    posterior = Posterior(dataclasses.replace(problem, y=y), moved, noise**2 / sd**2)
    start = np.repeat(best.theta[None], count, 0)
    found = minimise(posterior, start, *best.form.bounds(problem.u))
    return np.concatenate([best.theta[None], found.theta[found.converged]])
