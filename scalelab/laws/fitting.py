"""`fit`: from rows of runs to a law with intervals, checks and warnings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry, sanity
from scalelab.laws.block import build
from scalelab.laws.bootstrap import Bootstrap, bootstrap_estimate
from scalelab.laws.checklist import checklist, count_rows
from scalelab.laws.estimate import Estimate, check_result, estimate
from scalelab.laws.objective import check_objective
from scalelab.laws.points import CONVENTIONS, Points, prepare
from scalelab.laws.profile import Target, profile, standard_error
from scalelab.laws.registry import Form
from scalelab.laws.result import FitResult, finite

if TYPE_CHECKING:
    from pandas import DataFrame

MANY_CLUSTERS = 20
INTERVALS = ("auto", "profile", "bootstrap")


def fit(
    law: str,
    runs: "DataFrame",
    x: str | Sequence[str] | None = None,
    y: str = "loss_nats",
    objective: str = "least_squares",
    delta: float | None = None,
    level: float = 0.95,
    convention: str | None = None,
    intervals: str = "auto",
    resamples: int = 1000,
    seed: int = 0,
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
        objective: least_squares, or huber on the residuals of log loss (their sum).
        delta: Huber's threshold; 1.345 robust standard deviations by default, 1e-3 in
            Hoffmann et al. 2022.
        level: of the intervals.
        convention: what x counts, in words; known for N, N_total, D, C and C_6ND.
        intervals: profile (likelihood with Student's t), bootstrap (of whole sizes), or auto:
            bootstrap for huber from 20 sizes on, else profile (docs/statistics.md has the
            measured coverage of each).
        resamples, seed: of the bootstrap.

    Raises:
        UserError: bad rows, too few sizes, loss that does not fall, mixed units, no minimum.
    """
    check_objective(objective, delta)
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1 such as 0.95")
    if intervals not in INTERVALS:
        raise UserError(f"intervals {intervals!r}: expected one of {', '.join(INTERVALS)}")
    form = registry.get(law)
    columns = _columns(form, x)
    points, warnings = prepare(runs, columns, y), []
    if sanity.moves_together(points) and form.fallback:
        warnings.append(
            f"{' and '.join(columns)} are one variable in these rows, so {form.name} is not "
            f"determined: {form.fallback} in {columns[0]} is fitted instead"
        )
        form, columns = registry.get(form.fallback), columns[:1]
        points = prepare(runs, columns, y)
    sanity.check_sizes(form, points)
    sanity.check_falls(points)
    best = estimate(form, points.x, points.log_loss, objective, delta)
    sanity.check_units(best, points)
    check_result(best)
    if intervals == "auto":
        many = len(points.x) >= MANY_CLUSTERS
        intervals = "bootstrap" if many and objective == "huber" else "profile"
    drawn = bootstrap_estimate(best, resamples, seed) if intervals == "bootstrap" else None
    return _result(best, points, warnings, objective, level, convention, drawn)


def bootstrap(fitted: FitResult, n: int = 1000, seed: int = 0) -> Bootstrap:
    """Case bootstrap of a fit, whole sizes drawn with replacement; see `laws.bootstrap`."""
    return bootstrap_estimate(fitted.best, n, seed)


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
    objective: str,
    level: float,
    convention: str | None,
    drawn: Bootstrap | None,
) -> FitResult:
    form, params = best.form, best.params
    errors, ends = parameter_intervals(best, level, drawn)
    checks, left_out = checklist(best, points)
    warnings = warnings + _warnings(best, points, ends, drawn)
    block = build(best, points, objective, level, drawn)
    block |= {
        "convention": convention or _convention(points.columns),
        "standard_errors": errors,
        "intervals": ends,
        "interval_method": _method(best, drawn),
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
        resamples=drawn,
        block=block,
    )


def parameter_intervals(
    best: Estimate, level: float, drawn: Bootstrap | None = None
) -> tuple[dict[str, float], dict[str, list[float | None]]]:
    """Standard errors and interval ends of the natural parameters; None for an open end.

    From the resamples where enough of them are ok, else delta method and profile likelihood.
    """
    names = best.form.parameters
    if drawn is not None and drawn.usable:
        ends_drawn = (drawn.intervals(level) or {}).items()
        return drawn.standard_errors() or {}, {name: list(pair) for name, pair in ends_drawn}
    functionals = [best.form.functional(n, best.centre, best.log_scale) for n in names]
    ends = profile(best, [Target(functional=f) for f in functionals], level)
    result: dict[str, list[float | None]] = {}
    for name, functional, pair in zip(names, functionals, ends, strict=True):
        with np.errstate(over="ignore"):
            values = np.exp(pair) if functional.exponentiate else pair
        result[name] = [finite(values[0]), finite(values[1])]
    errors = {n: standard_error(best, f) for n, f in zip(names, functionals, strict=True)}
    return errors, result


def _method(best: Estimate, drawn: Bootstrap | None) -> str:
    if drawn is not None and drawn.usable:
        return f"percentiles of {drawn.n_ok} resamples of whole sizes (seed {drawn.seed})"
    return f"profile likelihood, Student's t with {best.dof} degrees of freedom"


def _warnings(
    best: Estimate,
    points: Points,
    ends: Mapping[str, Sequence[float | None]],
    drawn: Bootstrap | None,
) -> list[str]:
    warnings = []
    offset = best.form.offset
    for name, (low, high) in ends.items():
        value = best.params[name]
        if name == offset and (low is None or low <= 0):
            at = "is at its bound 0" if value <= 1e-9 else f"= {value:.4g} is not determined"
            top = "without end" if high is None else f"up to {high:.4g}"
            warnings.append(
                f"{name} {at}: its interval contains 0 and reaches {top}, so the data do not "
                "show a floor; compare the law without it"
            )
        elif low is None or high is None:
            warnings.append(f"{name} is not determined: its interval has an open end")
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
