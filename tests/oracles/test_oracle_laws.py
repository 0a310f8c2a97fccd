"""The points of Hoffmann et al. 2022 as reconstructed by Besiroglu et al. 2024 from their figure.

Needs `../shared/reference/chinchilla_epoch` beside the repository; skipped where it is absent.
Run: python -m pytest tests/oracles/test_oracle_laws.py
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from scalelab import laws
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import Estimate, estimate
from scalelab.laws.estimation.objective import robust
from scalelab.laws.shapes.constraints import Constraints

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "chinchilla_epoch"
POINTS = REFERENCE / "svg_extracted_data.csv"
pytestmark = pytest.mark.skipif(not POINTS.exists(), reason=f"no reference data at {POINTS}")

OPTIMUM = {"E": 1.817218, "A": 477.826, "alpha": 0.347310, "B": 2143.417, "beta": 0.367172}
OBJECTIVE = 0.0010182740178006


@functools.cache
def points(dropped: int) -> pd.DataFrame:
    """N, D = C / 6N and loss, without the `dropped` highest losses."""
    raw = pd.read_csv(POINTS)
    rows = pd.DataFrame({"N": raw["Model Size"], "loss_nats": raw["loss"]})
    rows["D"] = raw["Training FLOP"] / 6 / rows["N"]
    if dropped:
        rows = rows[rows["loss_nats"] < rows["loss_nats"].nlargest(dropped).iloc[-1]]
    return rows.reset_index(drop=True)


@functools.cache
def fitted(dropped: int) -> Estimate:
    rows = points(dropped)
    x, y = rows[["N", "D"]].to_numpy(), np.log(rows["loss_nats"].to_numpy())
    return estimate(registry.get("chinchilla"), x, y, "huber", 1e-3)


def test_the_best_known_minimum_is_reached():
    best = fitted(5)
    assert len(best.problem.y) == 240
    assert best.value == pytest.approx(OBJECTIVE, rel=1e-9)
    assert best.params == pytest.approx(OPTIMUM, rel=1e-5)
    assert best.converged and best.gradient_norm < 1e-6 and best.fraction_at_best > 0.5


def test_no_point_near_the_minimum_is_lower():
    best = fitted(5)
    noise = np.random.default_rng(0).normal(size=(2000, 5)) * np.geomspace(1e-6, 0.1, 2000)[:, None]
    values, _, _ = best.problem(best.theta + noise, np.arange(2000))
    assert values.min() >= best.value


def test_constants_rounded_for_print_miss_the_points_and_unrounded_ones_do_not():
    form, rows = registry.get("chinchilla"), points(5)
    rounded = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    full = {
        "E": np.exp(0.5267228),
        "A": np.exp(6.0073404),
        "alpha": 0.33917084,
        "B": np.exp(6.0179186),
        "beta": 0.2849083,
    }
    ratios = []
    for params in (rounded, full):
        predicted = form.value(form.theta(params)[None], np.log(rows[["N", "D"]].to_numpy()))[0]
        residual = np.log(rows["loss_nats"].to_numpy() / predicted)
        ratios.append(robust(residual, 1e-3)[0].sum() / OBJECTIVE)
    assert ratios == pytest.approx([4.05, 1.21], abs=0.01)


def test_five_points_of_245_move_beta_by_a_quarter():
    assert fitted(0).params["beta"] == pytest.approx(0.453, abs=5e-4)
    assert fitted(5).params["beta"] == pytest.approx(0.367, abs=5e-4)


def test_bootstrap_errors_agree_with_four_thousand_resamples():
    result = laws.fit("chinchilla", points(5), objective="huber", delta=1e-3, resamples=600)
    assert result.resamples is not None and result.resamples.n_ok > 590
    expected = {"E": 0.0257, "A": 124.5, "alpha": 0.0154, "B": 1293, "beta": 0.0206}
    # 600 resamples know a standard error to 3%, more for the long tail of B.
    assert result.standard_errors == pytest.approx(expected, rel=0.25)
    assert result.block["derived"]["N_opt_exponent"] == pytest.approx(0.514, abs=1e-3)


def test_least_absolute_deviations_reach_the_known_corner():
    rows = points(5)
    x, y = rows[["N", "D"]].to_numpy(), np.log(rows["loss_nats"].to_numpy())
    best = estimate(registry.get("chinchilla"), x, y, "lad")
    corner = {"A": 482.006, "B": 2085.435, "alpha": 0.347813, "beta": 0.365854}
    assert best.converged
    assert {name: best.params[name] for name in corner} == pytest.approx(corner, rel=2e-6)
    # No direction leads down: forces of at most one at the five points hold those of the others.
    at = np.abs(best.residuals) < 1e-9
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    slopes = slopes[0] / loss[0][:, None]
    force = np.linalg.solve(slopes[at].T, -np.sign(best.residuals[~at]) @ slopes[~at])
    assert at.sum() == 5 and np.abs(force).max() < 1


def test_one_exponent_for_both_costs_little_on_these_points():
    rows = points(5)
    x, y = rows[["N", "D"]].to_numpy(), np.log(rows["loss_nats"].to_numpy())
    form, delta = registry.get("chinchilla"), 1e-3
    tied = estimate(form, x, y, "huber", delta, constraints=Constraints({}, (("alpha", "beta"),)))

    def reduced(free: np.ndarray) -> float:
        params = {"E": free[0], "A": np.exp(free[1]), "B": np.exp(free[2])}
        params |= {"alpha": free[3], "beta": free[3]}
        loss = form.value(form.theta(params)[None], np.log(x))[0]
        return float(robust(y - np.log(loss), delta)[0].sum())

    best = np.array([1.8, 6.2, 7.4, 0.35])
    for _ in range(6):
        best = minimize(
            reduced, best, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}
        ).x
    assert tied.converged and tied.value == pytest.approx(reduced(best), rel=1e-7)
    assert tied.params["alpha"] == tied.params["beta"] == pytest.approx(best[3], rel=1e-4)
    assert OBJECTIVE < tied.value < 1.01 * OBJECTIVE
