"""Points that share the errors of a run or a size: variances, noise, resamples."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.uncertainty.bootstrap import simulate_estimate
from scalelab.laws.uncertainty.profile import ordinary_spread
from scalelab.laws.uncertainty.sandwich import clustered_spread, components

LINE = registry.get("power")
"""ln L = ln A - alpha ln x: linear, so that textbook formulas hold exactly."""


def line(x, seed: int, noise: float = 0.01):
    """A fit of the linear law to points at x (n,), which may repeat, and its log losses."""
    x = np.asarray(x, float)
    y = 1 - 0.2 * np.log(x) + np.random.default_rng(seed).normal(0, noise, len(x))
    return estimate(LINE, x[:, None], y), y


def alpha_slope(best):
    return best.functional("alpha").coefficients[None]


def test_two_groups_give_welchs_variance_and_the_degrees_of_freedom_of_imbens_and_kolesar():
    # Imbens and Kolesar 2016 (Rev. Econ. Stat. 98(4)), section II: one binary regressor.
    few, many = 4, 9
    best, y = line([10.0] * few + [1000.0] * many, seed=1)
    error, dof = clustered_spread(best, alpha_slope(best), np.arange(few + many))
    welch = y[:few].var(ddof=1) / few + y[few:].var(ddof=1) / many
    assert error[0] == pytest.approx(np.sqrt(welch) / np.log(100), rel=1e-6)
    total = few + many
    expected = total**2 * (few - 1) * (many - 1)
    expected /= many**2 * (many - 1) + few**2 * (few - 1)
    assert dof[0] == pytest.approx(expected, rel=1e-6)


def test_clusters_of_equal_x_count_as_their_means():
    x, each = np.geomspace(10, 1e5, 7), 4
    best, y = line(np.repeat(x, each), seed=2)
    together = clustered_spread(best, alpha_slope(best), np.repeat(np.arange(7), each))
    means = estimate(LINE, x[:, None], y.reshape(7, each).mean(1))
    alone = clustered_spread(means, alpha_slope(means), np.arange(7))
    assert together[0] == pytest.approx(alone[0], rel=1e-6)
    assert together[1] == pytest.approx(alone[1], rel=1e-6)


def test_cluster_robust_errors_are_those_of_the_dense_formula():
    rng = np.random.default_rng(3)
    x, member = np.exp(rng.uniform(2, 9, 20)), np.sort(rng.integers(0, 6, 20))
    member = np.unique(member, return_inverse=True)[1]
    best, _ = line(x, seed=3)
    jacobian = np.column_stack([np.ones(20), -best.problem.u[:, 0]])
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    hat = jacobian @ inverse @ jacobian.T
    rest = np.eye(20) - hat
    columns = np.zeros((20, member.max() + 1))
    for group in range(member.max() + 1):
        mine = np.flatnonzero(member == group)
        values, vectors = np.linalg.eigh(rest[np.ix_(mine, mine)])
        columns[mine, group] = (
            vectors @ np.diag(values**-0.5) @ vectors.T @ jacobian[mine] @ inverse[:, 1]
        )
    spread = columns.T @ rest @ columns
    error, dof = clustered_spread(best, alpha_slope(best), member)
    assert error[0] == pytest.approx(np.linalg.norm(columns.T @ best.residuals), rel=1e-6)
    assert dof[0] == pytest.approx(np.trace(spread) ** 2 / (spread**2).sum(), rel=1e-6)


def test_noise_of_clusters_is_that_of_the_analysis_of_variance():
    groups, each = 9, 5
    x, rng = np.repeat(np.geomspace(10, 1e5, groups), each), np.random.default_rng(4)
    y = 1 - 0.2 * np.log(x) + np.repeat(rng.normal(0, 0.02, groups), each)
    best = estimate(LINE, x[:, None], y + rng.normal(0, 0.01, len(x)))
    table = best.residuals.reshape(groups, each)
    inside = ((table - table.mean(1, keepdims=True)) ** 2).sum() / (groups * (each - 1))
    between = each * (table.mean(1) ** 2).sum() / (groups - 2)
    parts = components(best, np.repeat(np.arange(groups), each))
    assert parts.own == pytest.approx(inside, rel=1e-6)
    assert parts.shared == pytest.approx((between - inside) / each, rel=1e-6)
    mean = (between + (each - 1) * inside) / each
    spare = (between / each) ** 2 / (groups - 2)
    spare += ((each - 1) * inside / each) ** 2 / (groups * (each - 1))
    assert parts.total == pytest.approx(np.sqrt(mean), rel=1e-6)
    assert parts.dof == pytest.approx(mean**2 / spare, rel=1e-6)


def test_without_a_shared_effect_noise_is_the_residual_variance():
    best, _ = line(np.repeat(np.geomspace(10, 1e5, 8), 3), seed=6)
    parts = components(best, np.tile(np.arange(3), 8))
    if parts.shared == 0:
        assert parts.total == pytest.approx(best.sigma, rel=1e-6) and parts.dof == best.dof


def test_simulated_losses_give_students_t_where_the_law_is_linear():
    best, _ = line(np.geomspace(10, 1e5, 6), seed=7)
    drawn = simulate_estimate(best, 20_000, 0)
    error = ordinary_spread(best, alpha_slope(best))[0][0]
    half = stats.t.ppf(0.975, 4) * error
    low, high = np.quantile(drawn.parameter("alpha"), [0.025, 0.975])
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert drawn.n_ok == 20_000 and drawn.kind == "simulated"


def clustered_rows(seed: int = 0, own: float = 0.003, shared: float = 0.005) -> pd.DataFrame:
    """Eight sizes at five token counts; each size is off by an amount of its own."""
    n = np.repeat(np.geomspace(1e7, 1e9, 8), 5)
    d = np.tile(np.geomspace(1e9, 1e11, 5), 8)
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, own, 40) + np.repeat(rng.normal(0, shared, 8), 5)
    loss = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(noise)
    return pd.DataFrame({"N": n, "D": d, "loss_nats": loss})


def test_clustered_points_widen_what_their_size_shares_and_sharpen_what_it_cancels():
    result = laws.fit("chinchilla", clustered_rows())
    plain = laws.fit("chinchilla", clustered_rows(), cluster="none", intervals="profile")
    assert result.block["interval_kind"] == "robust" and result.block["clusters"] == 8
    assert plain.block["interval_kind"] == "profile" and plain.block["clusters"] == 40
    assert "cluster-robust" in result.block["interval_method"]
    ratio = {n: result.standard_errors[n] / plain.standard_errors[n] for n in result.params}
    assert ratio["alpha"] > 1.5 and ratio["beta"] < 0.8
    for row, other in zip(result.block["extrapolation"], plain.block["extrapolation"], strict=True):
        assert row["high"] - row["low"] > 1.5 * (other["high"] - other["low"])


@pytest.mark.parametrize("method", ["bootstrap", "parametric"])
def test_resamples_of_clusters_are_whole_counted_and_repeatable(method):
    rows = clustered_rows()
    first, second = (
        laws.fit("chinchilla", rows, intervals=method, resamples=150, seed=3) for _ in range(2)
    )
    assert first.block["interval_kind"] == method
    assert first.to_json()["bootstrap"] == second.to_json()["bootstrap"]
    counts = first.block["bootstrap"]
    assert counts["n_ok"] + counts["n_failed"] + counts["n_saturated"] == 150
    robust = laws.fit("chinchilla", rows)
    for name in ("alpha", "beta"):
        ratio = np.diff(first.intervals[name]) / np.diff(robust.intervals[name])
        assert 0.3 < ratio[0] < 1.7


def test_many_intervals_of_clustered_points_hold_the_truth():
    truth, inside, ignored = 0.34, 0, 0
    for seed in range(20):
        rows = clustered_rows(seed)
        best = estimate(
            registry.get("chinchilla"),
            rows[["N", "D"]].to_numpy(),
            np.log(rows["loss_nats"].to_numpy()),
        )
        value = best.params["alpha"]
        for member, kind in ((np.repeat(np.arange(8), 5), "whole"), (np.arange(40), "rows")):
            error, dof = clustered_spread(best, alpha_slope(best), member)
            hit = abs(value - truth) <= stats.t.ppf(0.975, dof[0]) * error[0]
            inside, ignored = inside + hit * (kind == "whole"), ignored + hit * (kind == "rows")
    # 19 of 20 are expected; 15 or fewer would happen three times in a thousand.
    assert inside >= 16 > ignored


def test_three_sizes_show_nothing_of_what_a_size_shares():
    n, d = np.repeat([1e7, 1e8, 1e9], 6), np.tile(np.geomspace(1e9, 1e11, 6), 3)
    noise = np.random.default_rng(0).normal(0, 0.002, 18) + np.repeat([0.005, -0.005, 0.005], 6)
    loss = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(noise)
    result = laws.fit("chinchilla", pd.DataFrame({"N": n, "D": d, "loss_nats": loss}))
    assert result.block["clusters"] == 3
    flags = result.block["determined"]
    assert not flags["alpha"] and not flags["A"] and flags["beta"]
    assert result.intervals["alpha"][1] is None and result.standard_errors["alpha"] is None
    json.dumps(result.to_json(), allow_nan=False)
    assert "alpha  not determined" in result.summary()


def test_twenty_checkpoints_of_one_run_are_refused():
    rows = clustered_rows().head(20).assign(run="a")
    with pytest.raises(UserError, match="20 rows, 1 run"):
        laws.fit("chinchilla", rows)
