"""The parts of a fit's JSON that follow from the estimate: points, band, held-out size, rivals."""

from typing import Any

import numpy as np

from scalelab.laws import registry
from scalelab.laws.estimation.estimate import Estimate, estimate
from scalelab.laws.judgement.heldout import held_out, held_out_series
from scalelab.laws.registry import Array
from scalelab.laws.result import finite, formula, prediction_interval, unit_of
from scalelab.laws.runs.points import Points
from scalelab.laws.uncertainty.intervals import Uncertainty

BAND_POINTS = 60
FACTORS = (2, 10)
INTERVAL_NOTE = (
    "conditional on the form of the law: they do not hold the error of a wrong form, which grows "
    "with the distance of an extrapolation; `scalelab compare` averages over forms"
)


def build(
    best: Estimate, points: Points, objective: str, level: float, sure: Uncertainty
) -> dict[str, Any]:
    """Everything but errors, intervals, checks and warnings; keys as in the results format."""
    form, params = best.base, best.params
    kind, value = "sum of squared residuals of log loss / 2", best.value
    if best.problem.weights.std() > 0:
        kind = "weighted " + kind
    if objective == "lad":
        kind, value = "sum of absolute residuals of log loss", float(np.abs(best.residuals).sum())
    elif best.problem.delta is not None:
        kind = f"sum of Huber residuals of log loss, delta {best.problem.delta:.6g}"
    series = held_out_series(best, points, sure, level)
    return {
        "law": form.name,
        "formula": formula(form, points.columns),
        "latex": formula(form, points.columns, latex=True),
        "source": form.source,
        "x": points.columns[0] if len(points.columns) == 1 else list(points.columns),
        "y": points.y,
        "params": params,
        "fixed": dict(best.constraints.fixed),
        "tied": [list(pair) for pair in best.constraints.tied],
        "interval_level": level,
        "level_text": f"{level:.0%}",
        "objective": value,
        "objective_kind": kind,
        "delta": best.problem.delta if objective == "huber" else None,
        "gradient_norm": best.gradient_norm,
        "starts": best.starts,
        "fraction_at_best": best.fraction_at_best,
        "other_minima": [{"objective": v, "params": p} for v, p in best.other_minima],
        "sigma_log": best.sigma,
        "dof": best.dof,
        "r_squared": _r_squared(best),
        "aicc": aicc(best),
        "points": _points(best, points),
        "excluded": list(points.excluded),
        "band": _band(best, points, level, sure),
        "extrapolation": _extrapolation(best, points, level, sure),
        "heldout": next(iter(series), None),
        "heldout_series": series,
        "alternatives": _alternatives(best, points, objective, level, sure),
        "bootstrap": sure.to_json(level),
        "set_aside": points.cells.to_json(),
        "interval_note": INTERVAL_NOTE,
    }


def _r_squared(best: Estimate) -> float:
    total = float(((best.problem.y - best.problem.y.mean()) ** 2).sum())
    return 1 - float((best.residuals**2).sum()) / total


def aicc(best: Estimate) -> float | None:
    """Corrected Akaike criterion of log-normal residuals (Hurvich and Tsai 1989, equation 3).

    None for Huber, and where points do not exceed parameters (with the noise) by two.
    """
    count, k = len(best.problem.y), len(best.theta) + 1
    if best.problem.delta is not None or count - k - 1 <= 0:
        return None
    mean_square = max(float((best.residuals**2).mean()), 1e-300)
    return float(count * np.log(mean_square) + 2 * k + 2 * k * (k + 1) / (count - k - 1))


def _points(best: Estimate, points: Points) -> list[dict[str, Any]]:
    unit = unit_of(points.y)
    observed = np.exp(points.log_loss)
    predicted = np.exp(best.log_loss(best.problem.u))
    rows = []
    for place, x in enumerate(points.x):
        rows.append(
            {
                **{c: float(v) for c, v in zip(points.columns, x, strict=True)},
                points.y: float(observed[place]),
                f"predicted_{unit}": float(predicted[place]),
                "residual_relative": float(observed[place] / predicted[place] - 1),
                "cluster": int(points.cluster[place]),
                **({} if points.weights is None else {"weight": float(points.weights[place])}),
                "seeds": points.seeds[place],
                f"seed_sd_{unit}": finite(points.seed_sd[place]),
                "runs": list(points.runs[place]),
            }
        )
    return rows


def _ray(points: Points, factors: Array) -> Array:
    """Multiples (n, m) of the point with the largest product of x."""
    top = points.x[int(np.argmax(np.log(points.x).sum(1)))]
    return factors[:, None] * top


def _rows(points: Points, x: Array, ends: Array, centre: Array) -> list[dict[str, Any]]:
    several = len(points.columns) > 1
    return [
        {
            "x": float(row[0]),
            **({c: float(v) for c, v in zip(points.columns, row, strict=True)} if several else {}),
            f"predicted_{unit_of(points.y)}": float(middle),
            "low": finite(pair[0]),
            "high": finite(pair[1]),
        }
        for row, pair, middle in zip(x, ends, centre, strict=True)
    ]


def _band(best: Estimate, points: Points, level: float, sure: Uncertainty) -> list[dict[str, Any]]:
    """The mean curve from the smallest x to ten times the largest; along D/N of the largest run."""
    smallest = points.x[:, 0].min() / _ray(points, np.ones(1))[0, 0]
    x = _ray(points, np.geomspace(smallest, 1.0 if best.base.rising else 10.0, BAND_POINTS))
    ends, centre = prediction_interval(best, x, level, sure, new_run=False)
    return _rows(points, x, ends, centre)


def _extrapolation(
    best: Estimate, points: Points, level: float, sure: Uncertainty
) -> list[dict[str, Any]]:
    if best.base.rising:  # further out is a smaller x, and by how much no factor says
        return []
    x = _ray(points, np.array(FACTORS, float))
    ends, centre = prediction_interval(best, x, level, sure, new_run=True)
    rows = _rows(points, x, ends, centre)
    return [{**row, "factor": factor} for row, factor in zip(rows, FACTORS, strict=True)]


def _alternatives(
    best: Estimate, points: Points, objective: str, level: float, sure: Uncertainty
) -> list[dict[str, Any]]:
    rows = []
    for law in best.base.alternatives:
        form = registry.get(law)
        if len(points.x) <= len(form.parameters):
            continue
        delta = best.problem.delta if objective == "huber" else None
        other = estimate(form, points.x, points.log_loss, objective, delta, points.weights)
        everyone = np.ones(len(points.x), bool)
        rows.append(
            {
                "law": law,
                "aicc": aicc(other),
                "params": other.params,
                "sigma_log": other.sigma,
                "heldout": held_out(other, points, sure.of(other, everyone), level),
            }
        )
    return rows
