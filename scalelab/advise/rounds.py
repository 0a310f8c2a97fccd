"""An adaptive study: which runs of its design to train next, round by round, and when to stop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scalelab.advise.next import choose
from scalelab.config.schema import AdaptiveConfig
from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.fitting import fit
from scalelab.plan.runs import Plan, Run

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Round:
    """What a round decided. runs: ids of all runs so far, added: those of this round; widths: the
    half-width of each quantity by the fit so far (None: open, or no fit yet); stop: why no round
    follows, None where one does; flops: training FLOPs of the runs."""

    number: int
    runs: tuple[str, ...]
    added: tuple[str, ...]
    widths: Mapping[str, float | None]
    stop: str | None
    flops: float
    told: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def first(plan: Plan) -> Round:
    """The runs to begin with: the cheapest and then, among the cheaper half, those farthest from
    the ones chosen in log N and log D, each scaled to its range."""
    settings = _settings(plan)
    cheap = sorted(plan.runs, key=lambda run: (run.flops, run.id))
    pool = cheap[: max(settings.start, math.ceil(len(cheap) / 2))]
    chosen = pool[:1]
    while len(chosen) < min(settings.start, len(pool)):
        rest = [run for run in pool if run not in chosen]
        chosen.append(max(rest, key=lambda run: min(_apart(run, one, pool) for one in chosen)))
    flops = sum(run.flops for run in chosen)
    if settings.max_flops is not None and flops > settings.max_flops:
        raise UserError(
            f"adaptive.max_flops: found {settings.max_flops:g}, but the first {len(chosen)} runs "
            f"cost {flops:.3g} training FLOPs; raise it or lower adaptive.start"
        )
    ids = tuple(run.id for run in chosen)
    widths = dict.fromkeys(settings.until)
    return Round(0, ids, ids, widths, None, flops, f"{len(ids)} runs spread over the design")


def following(plan: Plan, before: Mapping[str, Any], table: "DataFrame") -> Round:
    """The round after `before`, whose runs are the rows of `table`.

    Raises:
        UserError: a quantity that the law does not have.
    """
    settings, law = _settings(plan), _law(plan)
    done = tuple(before["runs"])
    number, flops = int(before["number"]) + 1, float(before["flops"])
    widths = {name: half_width(table, law, name) for name in settings.until}
    open_ones = [name for name, most in settings.until.items() if not (widths[name] or 9e9) <= most]

    def ended(reason: str) -> Round:
        return Round(number, done, (), widths, reason, flops, reason)

    if not open_ones:
        return ended("every interval is as narrow as asked for")
    rest = [run for run in plan.runs if run.id not in done]
    left = math.inf if settings.max_flops is None else settings.max_flops - flops
    affordable = [run for run in rest if run.flops <= left]
    if not affordable:
        return ended(
            "all runs of the design are trained"
            if not rest
            else "no run of the design is left within adaptive.max_flops"
        )
    picked, told = _pick(table, law, open_ones[0], left, affordable, settings.runs_per_round)
    ids = tuple(run.id for run in picked)
    spent = flops + sum(run.flops for run in picked)
    return Round(number, done + ids, ids, widths, None, spent, told)


def half_width(table: "DataFrame", law: str, quantity: str) -> float | None:
    """Half of the interval of a parameter or derived quantity; None where it is open or has none.

    Raises:
        UserError: the law has no such quantity.
    """
    try:
        block = fit(law, table).block
    except UserError:
        return None  # too few runs so far
    intervals = {**block.get("derived_intervals", {}), **block["intervals"]}
    quantity = {"a": "N_opt_exponent"}.get(quantity, quantity)
    if quantity not in intervals:
        raise UserError(
            f"adaptive.until: found {quantity!r}, expected one of {', '.join(sorted(intervals))}"
        )
    low, high = intervals[quantity]
    return None if low is None or high is None else (high - low) / 2


def _pick(
    table: "DataFrame", law: str, quantity: str, left: float, runs: Sequence[Run], most: int
) -> tuple[list[Run], str]:
    """The runs that narrow the quantity most; the cheapest ones where there is no fit to go by."""
    columns = registry.get(law).columns
    budget = min(left, sum(sorted(run.flops for run in runs)[-most:]))
    candidates = [
        {**dict(zip(columns, run.values(columns), strict=True)), "C": float(run.flops)}
        for run in runs
    ]
    try:
        choice = choose(table, law, quantity, budget, candidates, most)
    except UserError as error:
        cheapest = sorted(runs, key=lambda run: (run.flops, run.id))[:most]
        return cheapest, f"the cheapest runs left, since nothing can be chosen by: {error}"
    told = (
        f"{quantity}: half-width {choice.now:.3g} now, {choice.half_width:.3g} expected; the next "
        f"larger size would give {choice.larger_half_width:.3g}, a random run "
        f"{choice.random_half_width:.3g}"
    )
    return [runs[place] for place in choice.chosen], told


def _apart(one: Run, other: Run, pool: Sequence[Run]) -> float:
    total = 0.0
    for value in (lambda run: math.log(run.counts.n), lambda run: math.log(run.tokens)):
        values = [value(run) for run in pool]
        width = max(values) - min(values)
        total += ((value(one) - value(other)) / width) ** 2 if width else 0.0
    return math.sqrt(total)


def _settings(plan: Plan) -> AdaptiveConfig:
    if plan.study.adaptive is None:
        raise UserError("adaptive: missing, the study is not one in rounds")
    return plan.study.adaptive


def _law(plan: Plan) -> str:
    settings = _settings(plan)
    if settings.law is None and not plan.fits:
        raise UserError("adaptive.law: missing, and the study fits no law")
    return settings.law or str(plan.fits[0]["law"])
