"""What a choice is expected to give, by simulation: new losses, the fit made again, its interval.

The runs so far stay as they are. Parameters are drawn from those that they allow, the losses of
the new runs from the law there with the noise of the study: the preposterior analysis of Raiffa
and Schlaifer 1961, chapter 4.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.advise.criterion import Criterion, criterion
from scalelab.advise.expected import delta_ends
from scalelab.advise.state import State
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.estimation.objective import Problem
from scalelab.laws.estimation.solver import minimise
from scalelab.laws.registry import Array
from scalelab.laws.result import finite
from scalelab.laws.uncertainty.intervals import Uncertainty
from scalelab.seeds import stream


@dataclass(frozen=True)
class Checked:
    """Over simulated outcomes: median half-width, its 10% and 90% quantiles, median ends, share
    of open intervals.
    """

    half_width: float
    half_width_low: float
    half_width_high: float
    low: float
    high: float
    open: float
    studies: int

    def to_json(self) -> dict[str, float | int | None]:
        """Plain values; None for what is open."""
        return {
            key: finite(value) if isinstance(value, float) else value
            for key, value in dataclasses.asdict(self).items()
        }


def check(
    state: State, x: Array, sets: Sequence[Sequence[int]], seed: int = 0, exact: bool = True
) -> Checked:
    """Simulate the outcome of sets of candidates x (m, k), one outcome a set.

    Sets may repeat: the same set many times is its distribution, different ones that of a random
    choice. Intervals are those of the study's method (`laws.fit`, profile likelihood included);
    `exact` false: of the delta method with the same standard errors, in a tenth of the time. The
    same seed gives all sets the same noise and the same parameters, outcome by outcome.
    """
    judge = criterion(state, x)
    ends = [_outcome(state, judge, one, place, seed, exact) for place, one in enumerate(sets)]
    pairs = np.array(ends)
    half = state.asked.half_width(pairs)
    pairs = np.where(np.isnan(pairs), [-np.inf, np.inf], pairs)

    def at(values: Array, share: float) -> float:
        return float(np.quantile(values, share, method="inverted_cdf"))

    return Checked(
        half_width=at(half, 0.5),
        half_width_low=at(half, 0.1),
        half_width_high=at(half, 0.9),
        low=at(pairs[:, 0], 0.5),
        high=at(pairs[:, 1], 0.5),
        open=float(np.isinf(half).mean()),
        studies=len(sets),
    )


def _outcome(
    state: State, judge: Criterion, chosen: Sequence[int], place: int, seed: int, exact: bool
) -> Array:
    """Ends (2,) of the interval after one simulated outcome of the chosen runs."""
    draw = state.draws[place % len(state.draws)]
    generator = np.random.default_rng(stream(seed, f"outcome {place}"))
    best = state.best
    losses = np.log(best.form.value(draw[None], best.centred(judge.x[list(chosen)]))[0])
    losses = losses + best.log_scale + generator.normal(0, state.noise, len(chosen))
    sure = after(state, judge, chosen, losses, draw)
    if sure.best.dof < 1:
        return np.array([-np.inf, np.inf])
    target = state.asked.target(sure.best)
    own = sure.ends([target], state.level)[0] if exact else delta_ends(sure, target, state.level)
    return state.asked.natural(sure.best, own)


def after(
    state: State,
    judge: Criterion,
    chosen: Sequence[int],
    log_losses: Array,
    start: Array | None = None,
) -> Uncertainty:
    """The fit once the chosen candidates have these log losses (k,), by the study's method.

    start (P,): parameters to search from as well, internal coordinates.
    """
    best, old = state.best, state.best.problem
    y, counts = old.y.copy(), state.counts.copy()
    fresh, losses = [], []
    for one, loss in zip(chosen, log_losses - best.log_scale, strict=True):
        point = judge.same[one]
        if point >= 0:
            y[point] = (counts[point] * y[point] + loss) / (counts[point] + 1)
            counts[point] += 1
        else:
            fresh.append(one)
            losses.append(loss)
    problem = dataclasses.replace(
        old,
        u=np.concatenate([old.u, best.centred(judge.x[fresh])]),
        y=np.append(y, losses),
        weights=np.append(old.weights, np.ones(len(fresh))),
    )
    study = _fit(best, problem, best.theta if start is None else start)
    member = judge.members(fresh)
    return Uncertainty(study, state.sure.method, member, state.sure.clustered_by)


def _fit(best: Estimate, problem: Problem, draw: Array) -> Estimate:
    """Least squares from the estimate and from the parameters of the draw, the better of both."""
    start = np.stack([best.theta, draw])
    found = minimise(problem, start, *best.form.bounds(problem.u))
    place = int(np.argmin(found.value))
    return dataclasses.replace(
        best, problem=problem, theta=found.theta[place], value=float(found.value[place])
    )
