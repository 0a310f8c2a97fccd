"""`fit`: from rows of runs to a law with intervals, checks and warnings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.block import build
from scalelab.laws.estimation.estimate import Estimate, check_result, estimate
from scalelab.laws.judgement import sanity
from scalelab.laws.judgement.checklist import checklist, count_rows
from scalelab.laws.registry import Form
from scalelab.laws.result import FitResult, finite
from scalelab.laws.runs.points import CONVENTIONS, Points, only, prepare, stored_points
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.bootstrap import Bootstrap, bootstrap_estimate
from scalelab.laws.uncertainty.determined import Ends, not_determined
from scalelab.laws.uncertainty.intervals import Uncertainty, uncertainty
from scalelab.laws.uncertainty.springs import Quantity, Target

if TYPE_CHECKING:
    from pandas import DataFrame


def fit(
    law: str,
    runs: "DataFrame",
    x: str | Sequence[str] | None = None,
    y: str = "loss_nats",
    objective: str | None = None,
    delta: float | None = None,
    level: float = 0.95,
    convention: str | None = None,
    intervals: str = "auto",
    resamples: int = 1000,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
    tied: Sequence[Sequence[str]] = (),
    cluster: str | None = None,
    noise: str | None = None,
    cell: str | None = None,
) -> FitResult:
    """Fit a law of the registry to one row per run.

    Rows of one size (several seeds) become one point, the mean of their log losses, so that a
    size counts once however many seeds it has: what a size has in common (its shape, its
    learning rate) does not average out over seeds. Degrees of freedom are therefore the number
    of distinct sizes minus the number of parameters, which errs on the wide side when the seeds
    differ for reasons of their own.

    Args:
        law: name in the registry.
        runs: a table with the x and y columns; `status`, `label`, `id`, `D`, `N_embedding`,
            `N_total`, `corpus`, `context` are used where present.
        x: name of the (first) x column, or of one column per x of the law; by default its own.
        y: the loss column, positive.
        objective: least_squares (the default), huber on the residuals of log loss (their sum),
            or lad, least absolute deviations of log loss.
        delta: Huber's threshold, which alone asks for huber; 1.345 robust standard deviations by
            default, 1e-3 in Hoffmann et al. 2022.
        level: of the intervals.
        convention: what x counts, in words; known for N, N_total, D, C and C_6ND.
        intervals: profile (likelihood with Student's t, points independent), robust (the same
            with cluster-robust standard errors), bootstrap (of clusters), parametric (losses
            simulated from the fit), or auto, which chooses by the number of points and their
            clustering (docs/statistics.md has the measured coverage of each).
        resamples, seed: of the bootstrap.
        fixed: {parameter: value} held at that natural value, such as {"E": 1.69}.
        tied: pairs of parameters that are one number, such as [("alpha", "beta")].
        cluster: the column whose equal values are one piece of evidence, or `none`; by default
            the run where runs have several points, or the size where sizes have.
        noise: a column with the standard error of y; least squares then weighs by it.
        cell: what becomes of several rows at one x: best, mean, last, or auto, the default, which
            decides by the columns that differ among them (see `laws.runs.cells`).

    Raises:
        UserError: bad rows, too few sizes, loss that does not fall, mixed units, no minimum.
    """
    settings = Settings(
        objective,
        delta,
        level,
        convention,
        intervals,
        resamples,
        seed,
        fixed or {},
        tied,
        cluster,
        noise,
        cell,
    )
    settings.check()
    form = registry.get(law)
    columns = _columns(form, x)
    points = prepare(runs, columns, y, cluster, noise, cell)
    if form.select is not None:
        mask = form.select(points.x, points.log_loss)
        points = only(points, mask, f"another run is as good for less {columns[0]}")
    warnings = list(points.notes)
    if sanity.moves_together(points):
        told = f"{' and '.join(columns[:2])} are one variable in these rows"
        if {*settings.constraints.fixed} - {form.offset} or settings.tied:
            warnings.append(f"{told}: what is fixed or tied alone tells their terms apart")
        elif form.fallback:
            warnings.append(
                f"{told}, so {form.name} is not determined: {form.fallback} in {columns[0]} is "
                "fitted instead"
            )
            form, columns = registry.get(form.fallback), columns[:1]
            points = prepare(runs, columns, y, cluster, noise, cell)
        else:
            raise UserError(
                f"{told}, so {form.name} is not determined: add runs with other ratios of them, "
                "or fix a term"
            )
    sanity.check_sizes(form, points, settings.constraints)
    sanity.check_direction(form, points)
    return fit_points(form, points, settings, warnings)


def fit_points(
    form: Form, points: Points, settings: Settings, warnings: Sequence[str] = ()
) -> FitResult:
    """Fit a law to points that have been checked; what `fit` does with the rows behind it."""
    best = estimate(
        form,
        points.x,
        points.log_loss,
        settings.chosen_objective,
        settings.delta,
        points.weights,
        settings.constraints,
    )
    sanity.check_units(best, points)
    check_result(best)
    sure = uncertainty(best, settings, points.cluster, points.clustered_by)
    return _result(best, points, list(warnings), settings, sure)


def restore(block: Mapping[str, Any]) -> FitResult | None:
    """The fit whose JSON this is, made again from its points; None where it holds no points."""
    if not block.get("points") or "settings" not in block:
        return None
    return fit_points(
        registry.get(block["law"]), stored_points(block), Settings(**block["settings"])
    )


def bootstrap(fitted: FitResult, n: int = 1000, seed: int = 0) -> Bootstrap:
    """Case bootstrap of a fit, whole clusters drawn with replacement."""
    return bootstrap_estimate(fitted.best, n, seed, fitted.points.cluster)


def _columns(form: Form, x: str | Sequence[str] | None) -> tuple[str, ...]:
    if x is None or isinstance(x, str):
        # One name stands for the first column; the others are the law's own.
        columns = (x or form.columns[0], *form.columns[1:])
    else:
        columns = tuple(x)
    if len(columns) != len(form.columns):
        raise UserError(
            f"{form.name} needs {len(form.columns)} x columns (such as "
            f"{', '.join(form.columns)}): {len(columns)} given ({', '.join(columns)})"
        )
    return columns


def _result(
    best: Estimate,
    points: Points,
    warnings: list[str],
    settings: Settings,
    sure: Uncertainty,
) -> FitResult:
    form, params, level = best.base, best.params, settings.level
    errors, ends = parameter_intervals(sure, level)
    unknown = not_determined(best, points, ends)
    checks, left_out = checklist(best, points)
    warnings = warnings + _warnings(best, points, unknown, ends, sure)
    block = build(best, points, settings.chosen_objective, level, sure)
    block |= {
        "settings": settings.to_json(),
        "clustered_by": points.clustered_by,
        "convention": settings.convention or _convention(points.columns),
        "derived": derived(best),
        "derived_intervals": derived_intervals(sure, level),
        "standard_errors": errors,
        "intervals": ends,
        "determined": {name: name not in unknown for name in best.determined},
        "not_determined": unknown,
        "interval_kind": sure.method,
        "interval_method": sure.describe(),
        "clusters": sure.clusters,
        "checklist": checks,
        "warnings": warnings,
    }
    for row, one in zip(block["points"], left_out, strict=False):
        row["leave_one_out"] = one["shifts"]
    return FitResult(
        law=form.name,
        columns=points.columns,
        y=points.y,
        level=level,
        params=params,
        standard_errors=errors,
        intervals=ends,
        warnings=tuple(warnings),
        best=best,
        points=points,
        sure=sure,
        block=block,
    )


def parameter_intervals(
    sure: Uncertainty, level: float
) -> tuple[dict[str, float | None], dict[str, list[float | None]]]:
    """Standard errors and interval ends of the natural parameters; None for an open end.

    A fixed parameter has none.
    """
    names = sure.best.determined
    functionals = [sure.best.functional(n) for n in names]
    ends = sure.ends([Target(functional=f) for f in functionals], level)
    result: dict[str, list[float | None]] = {}
    for name, functional, pair in zip(names, functionals, ends, strict=True):
        with np.errstate(over="ignore"):
            values = np.exp(pair) if functional.exponentiate else pair
        result[name] = [finite(values[0]), finite(values[1])]
    errors = zip(names, sure.errors(functionals), strict=True)
    return {name: finite(error) for name, error in errors}, result


def derived(best: Estimate) -> dict[str, float]:
    """The quantities that follow from the parameters, less those that are no number at a bound."""
    with np.errstate(all="ignore"):
        values = best.base.derived({k: np.float64(v) for k, v in best.params.items()})
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def derived_intervals(sure: Uncertainty, level: float) -> dict[str, list[float | None]]:
    """Interval ends of the quantities that follow from the parameters."""
    names = list(derived(sure.best))

    def one(name: str) -> Quantity:
        return lambda params: sure.best.base.derived(params)[name]

    ends = sure.ends([Target(function=one(name)) for name in names], level)
    return {name: [finite(v) for v in pair] for name, pair in zip(names, ends, strict=True)}


def _warnings(
    best: Estimate, points: Points, unknown: Mapping[str, str], ends: Ends, sure: Uncertainty
) -> list[str]:
    warnings = []
    for name, reason in unknown.items():
        if name == best.base.offset and "0" in reason.split():
            value = best.params[name]
            at = "is at its bound 0" if "bound" in reason else f"= {value:.4g} is not determined"
            high = ends[name][1]
            top = "without end" if high is None else f"up to {high:.4g}"
            warnings.append(
                f"{name} {at}: its interval contains 0 and reaches {top}, so the data do not "
                "show a floor; compare the law without it"
            )
        else:
            warnings.append(f"{name} is not determined: {reason}")
    drawn = sure.drawn
    if drawn is not None and not drawn.usable:
        warnings.append(
            f"bootstrap: {drawn.n_ok} of {drawn.n} resamples determined the law "
            f"({drawn.n_saturated} with as many sizes as parameters, {drawn.n_failed} failed), "
            f"under {drawn.min_share:.0%}, so the intervals are from the profile likelihood"
        )
    if points.duplicates:
        warnings.append(f"{count_rows(points.duplicates)} another and is counted once")
    worst = float(np.abs(np.expm1(best.residuals)).max())
    if worst > 0.1:
        warnings.append(f"residuals reach {worst:.0%}: the points do not follow this law")
    return warnings


def _convention(columns: Sequence[str]) -> str:
    named = [
        CONVENTIONS.get(c, f"column {c!r} as named by the caller; what it counts is not known")
        for c in columns
    ]
    return "; ".join(named)
