"""What makes scaling fits wrong, checked for each fit: one line a check, with names."""

import re
from typing import Any

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.estimation.influence import without_each
from scalelab.laws.judgement import checks as of_rows
from scalelab.laws.judgement import design, recipes
from scalelab.laws.judgement.checks import count_rows as count_rows
from scalelab.laws.judgement.checks import line
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points
from scalelab.laws.uncertainty.profile import standard_error

FEW_SIZES = 5
RESIDUAL = 0.01
OUTLIER = 0.05


def checklist(best: Estimate, points: Points) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The checks, and the leave-one-out table ({"point", "shifts"} for each point)."""
    table = leave_one_out(best)
    checks = [
        _sizes(points),
        _span(points),
        _falling(points, best.base.rising),
        _residuals(best, points),
        _influence(best, points, table),
        of_rows.embedding(points),
        of_rows.evaluation(points),
        of_rows.duplicates(points),
        of_rows.excluded(points),
        of_rows.cells(points),
        recipes.rate_edge(points),
        recipes.undertrained(points),
        recipes.schedule(points),
        design.design(points),
        design.identification(points),
        design.profile_edge(points),
        _seeds(best, points),
    ]
    return [check for check in checks if check], table


def _sizes(points: Points) -> dict[str, Any]:
    sizes, count = len(np.unique(points.x[:, 0])), len(points.x)
    text = f"{sizes} distinct sizes" + (f" in {count} points" if count > sizes else "")
    few = sizes < FEW_SIZES
    return line("sizes", not few, text + (", few for a law" if few else ""))


def _span(points: Points) -> dict[str, Any]:
    decades = np.log10(points.x.max(0) / points.x.min(0))
    text = ", ".join(f"{c} {d:.2f}" for c, d in zip(points.columns, decades, strict=True))
    short = bool((decades < 2 - 1e-9).any())
    return line(
        "span", not short, f"decades spanned: {text}" + ("; two or more are wanted" * short)
    )


def _falling(points: Points, rising: bool) -> dict[str, Any]:
    """Neighbours are points that differ in one column alone, next to each other in it."""
    rises: set[int] = set()
    for column in range(points.x.shape[1]):
        others = np.delete(points.x, column, axis=1)
        order = np.lexsort((points.x[:, column], *others.T))
        alone = (others[order[1:]] == others[order[:-1]]).all(1)
        step = points.log_loss[order[1:]] - points.log_loss[order[:-1]]
        wrong = step <= 0 if rising else step >= 0
        rises |= {int(place) for place in order[1:][alone & wrong]}
    verb = "rise" if rising else "fall"
    if not rises:
        return line(f"loss {verb}s", True, f"loss {verb}s from each size to the next")
    named = points.names(sorted(rises))
    return line(f"loss {verb}s", False, f"loss does not {verb} from the size below to {named}")


def _residuals(best: Estimate, points: Points) -> dict[str, Any]:
    relative = np.expm1(best.residuals)
    large = np.flatnonzero(np.abs(relative) > RESIDUAL)
    worst = f"largest residual {np.abs(relative).max():.2%}"
    if not len(large):
        return line("residuals", True, worst)
    order = large[np.argsort(-np.abs(relative[large]), kind="stable")]
    return line("residuals", False, f"{worst}; above 1% at {points.names(order)}")


def leave_one_out(best: Estimate) -> list[dict[str, Any]]:
    """Shift of every exponent, in its standard errors, when one point is left out."""
    count = len(best.problem.y)
    if count - 1 < len(best.theta):
        return []
    theta, objective = without_each(best)
    exponents = [n for n in best.determined if re.fullmatch(r"(alpha|beta)(_\w)?|gamma|c\d", n)]
    functionals = {n: best.functional(n) for n in exponents}
    errors = {n: max(standard_error(best, f), 1e-12) for n, f in functionals.items()}
    moved = {n: f.natural(theta) - f.natural(best.theta) for n, f in functionals.items()}
    return [
        {
            "point": place,
            "objective": float(objective[place]),
            "shifts": {name: float(moved[name][place] / errors[name]) for name in exponents},
        }
        for place in range(count)
    ]


def outlier_p(best: Estimate, table: list[dict[str, Any]]) -> Array:
    """Two-sided p value (n,) that a point does not belong, from the objective without it.

    The F test of one extra parameter that takes the point out: Cook and Weisberg 1982, section
    2.2.2 (externally studentised residual). The noise comes from the other points alone, so a
    point cannot hide behind the misfit that it causes. Approximate for Huber.
    """
    from scipy.special import stdtr

    without = np.array([row["objective"] for row in table])
    spare = best.dof - 1
    if spare < 1 or not len(without):
        return np.ones(len(best.problem.y))
    gain = np.maximum(best.value - without, 0) / np.maximum(without, 1e-28) * spare
    return 2 * stdtr(spare, -np.sqrt(gain))


def _influence(
    best: Estimate, points: Points, table: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Names sizes that move an exponent; fails for those that stand off the others' curve.

    With few sizes the end ones move an exponent by more than its standard error in most clean
    data sets (two thirds of them with eight sizes), so influence alone is told but is no alarm.
    """
    if not table:
        return None
    size = np.array([max(map(abs, row["shifts"].values()), default=0) for row in table])
    p = outlier_p(best, table)
    moving, odd = np.flatnonzero(size > 1), np.flatnonzero(p < OUTLIER / len(p))
    moving, odd = (part[np.lexsort((part, p[part]))] for part in (moving, odd))
    text = "no size alone moves an exponent by its standard error"
    if len(moving):
        named = ", ".join(f"{points.name(int(i))} by {size[i]:.1f}" for i in moving[:6])
        text = f"sizes that alone move an exponent by more than its standard error: {named}"
    if not len(odd):
        return line("leave one out", True, text)
    share = table[int(odd[0])]["objective"] / max(best.value, 1e-300)
    return line(
        "leave one out",
        False,
        f"{points.names(odd)} stands off the curve of the others (p {p[odd[0]]:.1g}; without "
        f"the first the objective falls to {share:.2g} of itself); {text}",
    )


def _seeds(best: Estimate, points: Points) -> dict[str, Any]:
    several = np.array([count > 1 for count in points.seeds])
    if not several.any():
        return line("seed noise", False, "one seed a size: noise and misfit cannot be told apart")
    spare = np.array(points.seeds)[several] - 1
    relative = points.seed_sd[several] / np.exp(points.log_loss[several])
    noise = float(np.sqrt((spare * relative**2).sum() / spare.sum()))
    fine = best.sigma <= 3 * noise
    return line(
        "seed noise",
        fine,
        f"seeds differ by {noise:.2%}, residuals are {best.sigma:.2%}"
        + ("" if fine else ": the form misses more than noise explains"),
    )
