"""Least absolute deviations: against every line through two points, and against repeated points."""

import itertools

import numpy as np
import pytest

from scalelab import laws
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.shapes.constraints import Constraints


def line(seed: int, count: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """x (n, 1) and log losses (n,) about a line in logs, with heavy tails."""
    random = np.random.default_rng(seed)
    # Sizes without a pattern: on a regular grid the minimum can be a whole stretch.
    x = np.exp(random.uniform(np.log(1e5), np.log(1e9), count))[:, None]
    return x, np.log(12) - 0.1 * np.log(x[:, 0]) + 0.01 * random.standard_t(1.5, count)


def through_two_points(x: np.ndarray, y: np.ndarray) -> float:
    """The least sum of absolute residuals of a line, which passes through two of the points."""
    u, sums = np.log(x[:, 0]), []
    for i, j in itertools.combinations(range(len(y)), 2):
        slope = (y[j] - y[i]) / (u[j] - u[i])
        sums.append(float(np.abs(y - y[i] - slope * (u - u[i])).sum()))
    return min(sums)


@pytest.mark.parametrize("seed", range(5))
def test_a_power_law_is_the_best_line_through_two_points(seed):
    x, y = line(seed)
    best = estimate(registry.get("power"), x, y, "lad")
    assert best.converged
    assert np.abs(best.residuals).sum() == pytest.approx(through_two_points(x, y), rel=1e-10)
    assert (np.abs(best.residuals) < 1e-9).sum() == 2


def test_at_the_minimum_as_many_residuals_are_nought_as_there_are_parameters():
    random = np.random.default_rng(3)
    x = np.exp(random.uniform(np.log(1e7), np.log(1e10), (40, 2)))
    form = registry.get("chinchilla")
    params = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    y = np.log(form.value(form.theta(params)[None], np.log(x))[0])
    y = y + 0.01 * random.standard_t(2, 40)
    best = estimate(form, x, y, "lad")
    assert best.converged and (np.abs(best.residuals) < 1e-9).sum() == 5
    lowest = np.abs(best.residuals).sum()
    for _ in range(300):
        theta = best.theta + random.normal(0, 10 ** random.uniform(-6, -1), 5)
        residual = best.problem.y - np.log(form.value(theta[None], best.problem.u)[0])
        assert np.abs(residual).sum() >= lowest
    tied = estimate(form, x, y, "lad", constraints=Constraints({}, (("alpha", "beta"),)))
    assert tied.converged and (np.abs(tied.residuals) < 1e-9).sum() == 4
    assert np.abs(tied.residuals).sum() >= lowest


def test_a_floor_at_its_bound_stays_there():
    x, y = line(1)
    free, bound = (estimate(registry.get(n), x, y, "lad") for n in ("power", "power_offset"))
    assert bound.converged and bound.params["E"] >= 0
    assert np.abs(bound.residuals).sum() <= np.abs(free.residuals).sum() * (1 + 1e-9)


def test_a_weight_of_three_is_the_point_three_times():
    x, y = line(2)
    weights = np.ones(len(y))
    weights[[4, 9]] = 3.0
    weighted = estimate(registry.get("power"), x, y, "lad", weights=weights)
    places = np.repeat(np.arange(len(y)), weights.astype(int))
    repeated = estimate(registry.get("power"), x[places], y[places], "lad")
    assert weighted.params == pytest.approx(repeated.params, rel=1e-7)


def test_one_wild_point_does_not_move_it():
    x, y = line(0)
    calm = estimate(registry.get("power"), x, y, "lad")
    wild = y.copy()
    wild[int(np.argmax(calm.residuals))] += 3.0
    assert estimate(registry.get("power"), x, wild, "lad").params == pytest.approx(
        calm.params, rel=1e-8
    )


def test_exact_points_give_the_constants_and_a_fit_reports_the_sum_of_sizes():
    import pandas as pd

    sizes = np.geomspace(1e5, 1e9, 9)
    rows = pd.DataFrame({"N": sizes, "loss_nats": 1.7 + 60 * sizes**-0.25})
    form = registry.get("power_offset")
    best = estimate(form, sizes[:, None], np.log(rows["loss_nats"].to_numpy()), "lad")
    assert best.params == pytest.approx({"E": 1.7, "A": 60.0, "alpha": 0.25}, rel=1e-6)

    rows["loss_nats"] *= np.exp(np.random.default_rng(0).normal(0, 0.003, 9))
    block = laws.fit("power_offset", rows, objective="lad").to_json()
    assert block["objective_kind"] == "sum of absolute residuals of log loss"
    residuals = [np.log1p(row["residual_relative"]) for row in block["points"]]
    assert block["objective"] == pytest.approx(np.abs(residuals).sum(), rel=1e-9)
    for name, value in block["params"].items():
        low, high = block["intervals"][name]
        assert (low is None or low <= value) and (high is None or value <= high)
