"""`expected`: the intervals that a design is expected to give, before anything is trained.

Losses are simulated from a prior law, each set is fitted again, and its intervals are those that
`laws.fit` would print. Or, in a thousandth of the time, from the information matrix.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.advise.design import Design, design
from scalelab.advise.information import is_singular, spread
from scalelab.advise.prior import Prior, estimate_at, prior
from scalelab.advise.quantities import Asked, parse
from scalelab.errors import UserError
from scalelab.laws.estimation.estimate import LARGEST_LOG, Estimate, resimulated
from scalelab.laws.judgement.sanity import moves_together
from scalelab.laws.registry import Array
from scalelab.laws.result import finite
from scalelab.laws.uncertainty.intervals import Uncertainty
from scalelab.laws.uncertainty.profile import quantiles
from scalelab.laws.uncertainty.springs import Target, gradients
from scalelab.seeds import stream

ENGINES = ("auto", "fit", "simulate", "matrix")
TRIED, AGREE = 12, 0.05
"""Studies on which both kinds of interval are had, and by what share of the half-width their ends
may differ for `auto` to take the quick kind for all."""
SHARES = (0.1, 0.9)
"""Quantiles of the half-widths over simulated studies that are told beside the median."""


@dataclass(frozen=True)
class Expectation:
    """What a design tells of one quantity; see `Asked` for the unit of half-widths.

    half_width: the median over studies, infinite where over half of them have an open interval;
    half_width_low, half_width_high: the 10% and 90% quantiles. low, high: medians of the ends.
    coverage: share of the studies whose interval holds the value (None without simulation), open:
    share whose interval has an open end or that gave no fit, rmse: of the estimate, in the unit
    of the half-width, over the studies that gave a fit.
    """

    quantity: str
    value: float
    unit: str
    half_width: float
    half_width_low: float
    half_width_high: float
    low: float
    high: float
    coverage: float | None
    open: float | None
    rmse: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; None for what is open."""
        return {
            key: finite(v) if isinstance(v, float) else v
            for key, v in dataclasses.asdict(self).items()
        }


@dataclass(frozen=True)
class Expected:
    """The expectations of a design by quantity, and what they rest on."""

    quantities: dict[str, Expectation]
    prior: Prior
    noise: float
    level: float
    engine: str
    repeats: int
    failed: int
    runs: int
    points: int
    dof: int
    method: str

    def __getitem__(self, quantity: str) -> Expectation:
        return self.quantities[quantity]

    def describe(self) -> str:
        """How the numbers came about, in one sentence."""
        how = {
            "fit": f"median over {self.repeats} simulated studies of the intervals that a fit "
            "prints",
            "simulate": f"median over {self.repeats} simulated studies, delta method at each fit",
            "matrix": "information matrix, delta method",
            "none": "no simulation, since the design does not determine the law",
        }[self.engine]
        return (
            f"{how}: {self.runs} runs, {self.points} points, {self.dof} degrees of freedom, "
            f"{self.method} intervals at {self.level:.0%}, noise {self.noise:.2%}, prior "
            f"{self.prior.source}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "quantities": {name: one.to_json() for name, one in self.quantities.items()},
            "prior": {
                "law": self.prior.law,
                "params": dict(self.prior.params),
                "source": self.prior.source,
            },
            **{
                key: getattr(self, key)
                for key in ("noise", "level", "engine", "repeats", "failed", "runs", "points")
            },
            "dof": self.dof,
            "interval_method": self.method,
            "description": self.describe(),
        }


def expected(
    rows: Any,
    law: "Prior | str | Mapping[str, Any]" = "chinchilla",
    noise: float = 0.003,
    quantities: Sequence[str] = ("alpha",),
    repeats: int = 200,
    seed: int = 0,
    level: float = 0.95,
    engine: str = "auto",
) -> Expected:
    """What a design is expected to tell of each quantity, by simulation from a prior law.

    Args:
        rows: the runs, a table or a list of {column: value} with the columns of the law, such as
            [{"N": 1e6, "D": 2e7}, ...]; rows of one x are seeds of one point.
        law: a published law's name, a law's name (its first published constants), or the JSON of
            a fit.
        noise: standard deviation of log loss of one run, that is the relative one of loss.
        quantities: such as alpha, E, a (the exponent of N_opt), loss@N=1e9,D=2e10, N_opt@C=1e20.
        repeats, seed: of the simulation.
        level: of the intervals.
        engine: fit, the intervals that `laws.fit` prints (profile likelihood, 50 ms a study);
            simulate, the delta method at each simulated fit (5 ms a study); auto, simulate where
            both agree within 5% of the half-width on the first studies, else fit; matrix, the
            delta method at the law itself, no simulation and so no coverage. They agree where
            the intervals are short against the curvature of the law.

    Raises:
        UserError: an unknown law, quantity or engine, a bad design, noise or level.
    """
    if engine not in ENGINES:
        raise UserError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    if not (np.isfinite(noise) and noise > 0):
        raise UserError(f"noise is {noise}: expected a positive number such as 0.003 for 0.3%")
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1, say 0.95")
    if repeats < 1:
        raise UserError(f"repeats is {repeats}: expected a positive number")
    one = prior(law)
    asked = [parse(text, one.form) for text in quantities]
    plan = design(rows, one)
    best = estimate_at(one, plan.x)
    failed = 0
    if cannot_fit(plan, best):
        found, failed = [_nothing(item, best) for item in asked], repeats
        engine, repeats = "none", 0
    elif engine == "matrix":
        found = _by_matrix(asked, plan, best, noise, level)
    else:
        ask = (asked, plan, best, noise, repeats, seed, level)
        found, failed, engine = _by_simulation(*ask, engine)
    return Expected(
        quantities={item.quantity: item for item in found},
        prior=one,
        noise=noise,
        level=level,
        engine=engine,
        repeats=0 if engine == "matrix" else repeats,
        failed=failed,
        runs=plan.runs,
        points=len(plan.x),
        dof=best.dof,
        method=plan.method,
    )


def cannot_fit(plan: Design, best: Estimate) -> bool:
    """Whether `laws.fit` would refuse the design, or fit another law to it."""
    return best.dof < 1 or moves_together(plan.points) or is_singular(best)


def _nothing(asked: Asked, best: Estimate) -> Expectation:
    inf = np.inf
    value = asked.value(best)
    return Expectation(asked.text, value, asked.unit, inf, inf, inf, -inf, inf, None, 1.0, None)


def _by_matrix(
    asked: Sequence[Asked], plan: Design, best: Estimate, noise: float, level: float
) -> list[Expectation]:
    targets = [one.target(best) for one in asked]
    member = None if plan.method == "profile" else plan.member
    wide = spread(best, gradients(best, targets), noise**2 / plan.counts, member)
    halves = np.stack([wide.half_width(level, share) for share in (0.5, *SHARES)])
    found = []
    for place, one in enumerate(asked):
        value, half = one.value(best), halves[:, place]
        centre = _own(one.target(best), best)
        ends = one.natural(best, centre + half[0] * np.array([-1.0, 1.0]))
        middle, thin, wider = (float(h) for h in one.from_own(value, half))
        found.append(
            Expectation(
                quantity=one.text,
                value=value,
                unit=one.unit,
                half_width=middle,
                half_width_low=thin,
                half_width_high=wider,
                low=float(ends[0]),
                high=float(ends[1]),
                coverage=None,
                open=None if np.isfinite(middle) else 1.0,
                rmse=float(one.from_own(value, wide.error[place : place + 1])[0]),
            )
        )
    return found


def _own(target: Target, best: Estimate) -> float:
    """A target at the estimate, in its own scale."""
    if target.functional is not None:
        return float(best.theta @ target.functional.coefficients + target.functional.constant)
    if target.u is not None:
        return float(np.log(best.form.value(best.theta[None], target.u[None])[0, 0]))
    assert target.function is not None
    with np.errstate(all="ignore"):
        return float(target.function({k: np.float64(v) for k, v in best.params.items()}))


def _by_simulation(
    asked: Sequence[Asked],
    plan: Design,
    best: Estimate,
    noise: float,
    repeats: int,
    seed: int,
    level: float,
    engine: str,
) -> tuple[list[Expectation], int, str]:
    generator = np.random.default_rng(stream(seed, "expected intervals"))
    root = noise / np.sqrt(plan.counts)
    errors = generator.normal(size=(repeats, len(root))) * root
    studies = refits(best, best.problem.y + errors)
    fitted = [study for study in studies if study is not None]
    failed = len(studies) - len(fitted)
    if not fitted:
        return [_nothing(one, best) for one in asked], failed, engine

    def ends_of(some: Sequence[Estimate], kind: str) -> Array:
        return np.array([interval_ends(study, asked, plan, level, kind) for study in some])

    if engine == "auto":
        quick, exact = (ends_of(fitted[:TRIED], kind) for kind in ("simulate", "fit"))
        engine = "simulate" if _agree(quick, exact) else "fit"
    ends = ends_of(fitted, engine)
    values = np.array([[one.value(study) for one in asked] for study in fitted])
    found = [
        _summary(one, one.value(best), ends[:, place], values[:, place], failed)
        for place, one in enumerate(asked)
    ]
    return found, failed, engine


def delta_ends(sure: Uncertainty, target: Target, level: float) -> Array:
    """Ends (2,) of the interval of a target in its own scale, by the delta method."""
    error, dof = sure.spread(gradients(sure.best, [target]))
    half = float((quantiles(level, dof) * error)[0])
    return _own(target, sure.best) + half * np.array([-1.0, 1.0])


def _agree(quick: Array, exact: Array) -> bool:
    """Whether ends (S, T, 2) differ by little of their half-width, in the median of the studies."""
    with np.errstate(all="ignore"):
        apart = np.abs(quick - exact).max(2) / np.abs(exact[..., 1] - exact[..., 0]) * 2
    apart = np.where(np.isfinite(apart), apart, np.inf)
    return bool((np.median(apart, axis=0) < AGREE).all())


def refits(best: Estimate, y: Array) -> list[Estimate | None]:
    """The fit to each set of scaled log losses (S, n), from the estimate; None where it fails."""
    found = resimulated(best, y)
    studies: list[Estimate | None] = []
    for theta, value, row, good in zip(found.theta, found.value, y, found.converged, strict=True):
        problem = dataclasses.replace(best.problem, y=row)
        one = dataclasses.replace(best, problem=problem, theta=theta, value=float(value))
        with np.errstate(over="ignore"):
            sizes = np.abs(list(one.params.values()))
        studies.append(one if good and (sizes < np.exp(LARGEST_LOG)).all() else None)
    return studies


def interval_ends(
    study: Estimate, asked: Sequence[Asked], plan: Design, level: float, engine: str = "fit"
) -> Array:
    """Ends (T, 2) of the intervals that a fit of the design prints, as reported."""
    sure = Uncertainty(study, plan.method, plan.member, plan.clustered_by)
    targets = [one.target(study) for one in asked]
    if engine == "fit":
        own = sure.ends(targets, level)
    else:
        own = np.array([delta_ends(sure, target, level) for target in targets])
    return np.array([one.natural(study, pair) for one, pair in zip(asked, own, strict=True)])


def _summary(asked: Asked, value: float, ends: Array, values: Array, failed: int) -> Expectation:
    half = np.append(asked.half_width(ends), np.full(failed, np.inf))
    inside = (ends[:, 0] <= value) & (value <= ends[:, 1])
    off = np.log(np.maximum(values, 1e-300) / value) if asked.factor else values - value
    middle, low, high = (
        float(np.quantile(half, share, method="inverted_cdf")) for share in (0.5, *SHARES)
    )
    ends = np.where(np.isnan(ends), [-np.inf, np.inf], ends)
    return Expectation(
        quantity=asked.text,
        value=value,
        unit=asked.unit,
        half_width=middle,
        half_width_low=low,
        half_width_high=high,
        low=float(np.quantile(ends[:, 0], 0.5, method="inverted_cdf")),
        high=float(np.quantile(ends[:, 1], 0.5, method="inverted_cdf")),
        coverage=float(inside.mean()),
        open=float(np.isinf(half).mean()),
        rmse=float(np.sqrt((off**2).mean())),
    )
