"""Which law to believe: AICc, extrapolation to sizes left out, and a prediction over all laws."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.block import aicc
from scalelab.laws.estimation.estimate import Estimate, check_result, estimate
from scalelab.laws.judgement import sanity
from scalelab.laws.judgement.average import (
    METHOD,
    Predictive,
    akaike_weights,
    averaged_scores,
    combine,
    predictive,
    scores,
)
from scalelab.laws.judgement.candidates import Candidate, candidates, wide_columns
from scalelab.laws.judgement.comparison import Comparison, Fitted, Rival
from scalelab.laws.judgement.design import design
from scalelab.laws.judgement.heldout import without
from scalelab.laws.judgement.references import references
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points, prepare
from scalelab.laws.settings import Settings
from scalelab.laws.shapes.constraints import Constraints
from scalelab.laws.uncertainty.intervals import Uncertainty

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_FOLDS = 6
SHARE_LEFT_OUT = 1 / 3
"""Of the sizes, at most so many are predicted in turn."""


def compare(
    runs: "DataFrame",
    laws: Sequence[str] | None = None,
    x: str | Sequence[str] | None = None,
    y: str = "loss_nats",
    objective: str | None = None,
    delta: float | None = None,
    level: float = 0.95,
    cluster: str | None = None,
    noise: str | None = None,
    cell: str | None = None,
    published: Sequence[str] = (),
) -> Comparison:
    """Fit several laws to the same points and judge each by AICc and by extrapolation.

    The largest sizes, up to a third of them, are predicted in turn by fits to all below: the score
    is the log density of what was observed under the law's Student's t for one new run. A law with
    both alpha and beta is also fitted with the two tied.

    Args:
        laws: names in the registry; by default all of the same x columns. Laws of fewer columns
            than the widest one are fitted to the same points.
        x: columns, in the order of the widest law; by default N and D where D varies by itself,
            else N.
        y, objective, delta, level, cluster, noise, cell: as in `laws.fit`.
        published: names in `laws.published`, or `all`, scored beside the fitted laws.

    Raises:
        UserError: bad rows, or no law that can be fitted, with the reason for each.
    """
    settings = Settings(objective, delta, level, cluster=cluster, noise=noise, cell=cell)
    settings.check()
    wide, columns = wide_columns(runs, laws, x)
    points = prepare(runs, columns, y, cluster, noise, cell)
    if laws is None and x is None and len(columns) > 1 and _one_variable(points):
        wide, columns = registry.get("power_offset"), columns[:1]
        points = prepare(runs, columns, y, cluster, noise, cell)
    theirs = references(published, points)
    fitted: list[tuple[Candidate, Fitted]] = []
    refused: list[Rival] = []
    for one in candidates(laws, wide, columns):
        try:
            if laws is None:
                _check_count(one, points)
            best = _estimate(one, points, settings)
        except UserError as error:
            refused.append(Rival(one.name, one.form.name, one.tied, reason=str(error)))
            continue
        method = "profile" if points.clustered_by is None else "robust"
        sure = Uncertainty(best, method, points.cluster, points.clustered_by)
        fitted.append((one, Fitted(one.name, best, sure, one.places)))
    if not fitted:
        reasons = "; ".join(f"{rival.name}: {rival.reason}" for rival in refused)
        raise UserError(f"no law can be fitted ({reasons})")
    return dataclasses.replace(_judge(points, fitted, refused, settings), published=theirs)


def _mixed(points: Points) -> list[str]:
    """A sentence where laws of one x are compared on rows that differ in another."""
    found = design(points)
    if found is None or found["ok"]:
        return []
    return [f"{found['message']}; name two columns to compare laws of both"]


def _one_variable(points: Points) -> bool:
    """Whether the second x says nothing of its own: constant, or bound to the first."""
    return len(np.unique(points.x[:, 1])) < 3 or sanity.moves_together(points)


def _check_count(one: Candidate, points: Points) -> None:
    """Laws that were not asked for take part only where AICc can judge them."""
    parameters = len(one.form.parameters) - len(one.tied)
    if len(points.x) <= parameters + 2:
        raise UserError(
            f"{len(points.x)} points are too few to judge {parameters} parameters by AICc"
        )


def _estimate(one: Candidate, points: Points, settings: Settings) -> Estimate:
    view, constraints = one.view(points), Constraints({}, one.tied)
    sanity.check_sizes(one.form, view, constraints)
    sanity.check_direction(one.form, view)
    best = estimate(
        one.form,
        view.x,
        view.log_loss,
        settings.chosen_objective,
        settings.delta,
        view.weights,
        constraints,
    )
    check_result(best)
    return best


def folds(points: Points) -> list[np.ndarray]:
    """Groups (n,) bool of the largest sizes, smallest first: each is predicted from all below."""
    distinct = np.unique(points.x[:, 0])
    count = max(1, int(len(distinct) * SHARE_LEFT_OUT))
    parts = np.array_split(distinct[-count:], min(count, MOST_FOLDS))
    return [np.isin(points.x[:, 0], part) for part in parts]


def _predictions(
    one: Candidate, fit: Fitted, points: Points, groups: Sequence[np.ndarray], level: float
) -> list[Predictive | None]:
    """Of each group, from a fit to the sizes below it; None where there is none."""
    view, found = one.view(points), []
    for group in groups:
        above = points.x[:, 0] >= points.x[group, 0].min()
        below = without(fit.best, view, fit.sure, above)
        found.append(predictive(*below, view.x[group], level) if below else None)
    return found


def _judge(
    points: Points,
    fitted: Sequence[tuple[Candidate, Fitted]],
    refused: Sequence[Rival],
    settings: Settings,
) -> Comparison:
    groups, level = folds(points), settings.level
    told = [_predictions(one, fit, points, groups, level) for one, fit in fitted]
    # Laws that could be fitted below every group are scored; with none, fewer groups are used.
    while groups and not any(None not in one for one in told):
        groups, told = groups[1:], [one[1:] for one in told]
    scored = {
        i: [part for part in one if part is not None]
        for i, one in enumerate(told)
        if groups and None not in one
    }
    observed = [points.log_loss[group] for group in groups]
    criteria = [aicc(fit.best) for _, fit in fitted]
    factors, weights, method = _weights(scored, observed, criteria)
    rivals = [
        Rival(
            one.name,
            one.form.name,
            one.tied,
            params=fit.best.params,
            parameters=len(fit.best.theta),
            sigma_log=fit.best.sigma,
            aicc=criteria[i],
            delta_aicc=_above_least(criteria, i),
            akaike_weight=akaike_weights(criteria)[i],
            weight=float(weights[i]),
            widening=float(factors[i]) if i in scored else None,
            reason=None if i in scored else "too few sizes below those left out to be scored",
            **(scores(scored[i], observed, level) if i in scored else {}),
        )
        for i, (one, fit) in enumerate(fitted)
    ]
    rivals.sort(key=lambda one: -np.inf if one.log_density is None else one.log_density)
    return Comparison(
        rivals=(*rivals[::-1], *refused),
        points=points,
        fitted=tuple(
            dataclasses.replace(fit, weight=float(w), widening=float(f))
            for (_, fit), w, f in zip(fitted, weights, factors, strict=True)
        ),
        weights_method=method,
        averaged=averaged_scores(list(scored.values()), observed, level) if scored else {},
        left_out=tuple(tuple(float(v) for v in np.unique(points.x[g, 0])) for g in groups),
        settings=settings,
        warnings=(*points.notes, *_mixed(points)),
    )


def _weights(
    scored: dict[int, list[Predictive]], observed: Sequence[Array], criteria: list[float | None]
) -> tuple[Array, Array, str]:
    """Widening factors (K,) and weights (K,) of all fitted laws, and how they were found."""
    count = len(criteria)
    factors, weights = np.ones(count), np.zeros(count)
    if scored:
        places = list(scored)
        factors[places], weights[places] = combine(list(scored.values()), observed)
        return factors, weights, METHOD
    akaike = np.array([value or 0.0 for value in akaike_weights(criteria)])
    if akaike.any():
        return factors, akaike, "Akaike weights, since too few sizes can be left out"
    return factors, np.full(count, 1 / count), "equal weights: nothing scores the laws"


def _above_least(criteria: Sequence[float | None], place: int) -> float | None:
    value = criteria[place]
    return None if value is None else value - min(v for v in criteria if v is not None)
