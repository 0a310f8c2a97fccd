"""What to run next: the runs within a budget that narrow the interval of one quantity most.

The sets are found by a greedy choice with exchanges (Fedorov 1972, chapter 3; Atkinson, Donev and
Tobias 2007, chapter 12), from every number of runs up to the one allowed, under one budget.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.advise.candidates import Candidates, given, grid
from scalelab.advise.check import check
from scalelab.advise.criterion import Criterion, criterion
from scalelab.advise.state import State, state
from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.seeds import stream

if TYPE_CHECKING:
    from pandas import DataFrame

PASSES = 4
TIE = 0.01
"""Sets whose expected half-widths differ by less than 1% are alike: the cheaper one is taken."""
OUTCOMES, CLEAR = 32, 0.02
"""Simulated outcomes by which sets are compared, and by how much one must be narrower to be taken
instead of the criterion's own."""
NEAR_RATIO = 1.5
RANDOM_SETS = 100
LEAST_SPENT = 1 / 3
"""Of the budget, that a random choice spends at least, so that it is no weaker for being cheap."""


@dataclass(frozen=True)
class Choice:
    """The runs to do next, what they and the plain strategies are expected to give.

    chosen: places among the candidates; half_width: expected with them; now: expected of the
    study as it is, by the same formula; larger: the places of the next larger size for the same
    budget; random: half-widths of random choices that spend a third of the budget or more.
    """

    state: State
    candidates: Candidates
    budget: float
    chosen: tuple[int, ...]
    half_width: float
    now: float
    larger: tuple[int, ...]
    larger_half_width: float
    random_sets: tuple[tuple[int, ...], ...]
    random_half_widths: Array

    @property
    def flops(self) -> float:
        """What the chosen runs cost."""
        return float(self.candidates.flops[list(self.chosen)].sum())

    @property
    def random_half_width(self) -> float:
        """The median of random choices."""
        return float(np.median(self.random_half_widths))

    @property
    def gain_per_flop(self) -> float:
        """Log of the half-width gained for each FLOP."""
        return float(np.log(self.now / self.half_width) / self.flops)


def choose(
    table: "DataFrame",
    law: str,
    quantity: str,
    flops: float,
    candidates: Sequence[Mapping[str, float]],
    runs: int = 1,
    level: float = 0.95,
    noise: float | None = None,
    seed: int = 0,
    **keywords: Any,
) -> Choice:
    """The candidates that are expected to narrow the interval of a quantity most for a budget.

    Args:
        table: one row a run so far, as for `laws.fit`.
        law: name in the registry.
        quantity: such as alpha, E, a, loss@N=1e9,D=2e10 or N_opt@C=1e20.
        flops: the most that the chosen runs may cost together.
        candidates: {column: value} with the columns of the law and C, the FLOPs of the run (6 N D
            where it is missing). One that a run of the study has is a further seed of it.
        runs: the most runs to choose; fewer are chosen where they are as good.
        level, noise, seed, keywords: see `advise.state.state`.

    Raises:
        UserError: as `laws.fit`; no candidate within the budget; a bad candidate or number.
    """
    now = state(table, law, quantity, level, noise, seed, **keywords)
    return choose_from(now, given(candidates, now.points), flops, runs, seed)


def choose_on_grid(
    table: "DataFrame",
    law: str,
    quantity: str,
    flops: float,
    runs: int = 1,
    level: float = 0.95,
    noise: float | None = None,
    seed: int = 0,
    max_n: float | None = None,
    max_d: float | None = None,
    sizes: Sequence[float] = (),
    **keywords: Any,
) -> Choice:
    """`choose` among a grid of N and D about the study (see `advise.candidates.grid`)."""
    _positive(flops, "the budget")
    now = state(table, law, quantity, level, noise, seed, **keywords)
    found = grid(now.points, flops, max_n, max_d, sizes)
    return choose_from(now, found, flops, runs, seed)


def choose_from(
    now: State, candidates: Candidates, flops: float, runs: int = 1, seed: int = 0
) -> Choice:
    """`choose`, from a state and candidates that are at hand."""
    _positive(flops, "the budget")
    if runs < 1:
        raise UserError(f"runs is {runs}: expected 1 or more")
    if (candidates.flops > flops).all():
        raise UserError(
            f"no candidate costs {flops:.3g} FLOPs or less: the cheapest costs "
            f"{candidates.flops.min():.3g}"
        )
    judge = criterion(now, candidates.x)
    larger = next_larger(candidates, flops)
    chosen = _contest(now, judge, candidates.flops, flops, runs, larger, seed)
    sets = random_sets(candidates.flops, flops, len(chosen), seed)
    return Choice(
        state=now,
        candidates=candidates,
        budget=flops,
        chosen=chosen,
        half_width=judge.half_width(chosen),
        now=judge.half_width(()),
        larger=larger,
        larger_half_width=judge.half_width(larger),
        random_sets=sets,
        random_half_widths=np.array([judge.half_width(one) for one in sets]),
    )


def _contest(
    now: State,
    judge: Criterion,
    costs: Array,
    budget: float,
    runs: int,
    larger: tuple[int, ...],
    seed: int,
) -> tuple[int, ...]:
    """The best set by simulated outcomes among the criterion's, that of the least standard error,
    and the next larger size.

    The criterion knows degrees of freedom on average; the residuals of the runs so far, which few
    clusters make much of, it does not. Where the prior takes part simulation decides nothing.
    """
    chosen = best_set(judge, costs, budget, runs)
    if now.regularised:
        return chosen
    others = {best_set(dataclasses.replace(judge, precise=True), costs, budget, runs), larger}
    if others == {chosen}:
        return chosen

    def simulated(one: tuple[int, ...]) -> float:
        return check(now, judge.x, [one] * OUTCOMES, seed, exact=False).half_width

    least = simulated(chosen)
    for other in sorted(others - {chosen}):
        half = simulated(other)
        if half < least * (1 - CLEAR):
            chosen, least = other, half
    return chosen


def best_set(judge: Criterion, costs: Array, budget: float, runs: int) -> tuple[int, ...]:
    """Places of the runs, at most `runs`, of the least expected half-width within the budget.

    One more run is taken where it narrows the interval by over 1%.
    """
    best: tuple[int, ...] = ()
    score = np.inf
    for count in range(1, runs + 1):
        ways = (True,) if count == 1 else (True, False)
        starts = [_greedy(judge, costs, budget, count, even) for even in ways]
        sets = [tuple(_exchange(judge, costs, budget, start)) for start in starts]
        found = min(sets, key=judge.score)
        if len(found) < count:
            break
        value = judge.score(found)
        if value < score - TIE:
            best, score = found, value
    return tuple(sorted(best, key=lambda place: (costs[place], place)))


def _greedy(judge: Criterion, costs: Array, budget: float, count: int, even: bool) -> list[int]:
    """One run after the other; `even`: each may cost its share of what is left, else all of it
    but for the cheapest runs that are still to come.
    """
    chosen: list[int] = []
    for left in range(count, 0, -1):
        spare = budget - costs[chosen].sum()
        most = spare / left if even else spare - (left - 1) * costs.min()
        place = _pick(judge, costs, chosen, most)
        if place is None:
            break
        chosen.append(place)
    return chosen


def _pick(judge: Criterion, costs: Array, chosen: Sequence[int], most: float) -> int | None:
    """The cheapest of the candidates that are as good as the best, at a cost of at most `most`."""
    scores = judge.scores(chosen, costs <= most * (1 + 1e-9))
    if not np.isfinite(scores).any():
        return None
    alike = np.flatnonzero(scores <= scores.min() + TIE / 2)
    return int(alike[np.lexsort((scores[alike], costs[alike]))[0]])


def _exchange(judge: Criterion, costs: Array, budget: float, start: Sequence[int]) -> list[int]:
    """Replace one run by a better one until none is."""
    chosen = list(start)
    score = judge.score(chosen) if len(chosen) > 1 else -np.inf
    for _ in range(PASSES):
        before = score
        for place in range(len(chosen) if len(chosen) > 1 else 0):
            rest = chosen[:place] + chosen[place + 1 :]
            other = _pick(judge, costs, rest, budget - costs[rest].sum())
            if other is None or other == chosen[place]:
                continue
            value = judge.score([*rest, other])
            if value < score - 1e-4:
                chosen, score = [*rest, other], value
        if score > before - 1e-3:
            break
    return chosen


def next_larger(candidates: Candidates, budget: float) -> tuple[int]:
    """The largest affordable run at the D/N of the study's dearest run: what is done by habit."""
    fits = candidates.flops <= budget * (1 + 1e-9)
    if np.isfinite(candidates.usual):
        off = np.abs(np.log(candidates.ratio / candidates.usual))
        near = fits & (off <= np.log(NEAR_RATIO))
        fits = near if near.any() else fits & (off <= off[fits].min() + 1e-9)
    places = np.flatnonzero(fits)
    size = candidates.x[places, 0]
    return (int(places[np.lexsort((candidates.flops[places], size))[-1]]),)


def random_sets(
    costs: Array, budget: float, count: int, seed: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Random sets of that many runs within the budget, each spending a third of it or more."""
    generator = np.random.default_rng(stream(seed, "random choice of runs"))
    affordable = np.flatnonzero(costs <= budget * (1 + 1e-9))
    found: list[tuple[int, ...]] = []
    for _ in range(200 * RANDOM_SETS):
        pick = generator.choice(affordable, min(count, len(affordable)), replace=False)
        if LEAST_SPENT * budget <= costs[pick].sum() <= budget * (1 + 1e-9):
            found.append(tuple(int(place) for place in pick))
        if len(found) == RANDOM_SETS:
            break
    # Where no set spends as much, the dearest run stands for them.
    return tuple(found) or ((int(affordable[np.argmax(costs[affordable])]),),)


def _positive(flops: float, what: str) -> None:
    if not (np.isfinite(flops) and flops > 0):
        raise UserError(f"{what} is {flops} FLOPs: expected a positive number such as 1e17")
