"""Standard errors, profile intervals, predictions and the bootstrap."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.uncertainty.bootstrap import condition
from scalelab.laws.uncertainty.determined import _singular
from scalelab.laws.uncertainty.profile import covariance, ordinary_spread, profile, quantile
from scalelab.laws.uncertainty.springs import Target

SIZES = np.array([1e5, 3e5, 1e6, 3e6, 1e7, 3e7])
LOSSES = np.array([5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107])


def ladder(losses=LOSSES, sizes=SIZES) -> pd.DataFrame:
    return pd.DataFrame({"N": sizes, "loss_nats": losses})


def noisy(seed: int = 0, count: int = 8, noise: float = 0.003) -> pd.DataFrame:
    sizes = np.geomspace(1e4, 1e6, count)
    wobble = np.random.default_rng(seed).normal(0, noise, count)
    return ladder((1.8 + 60 * sizes**-0.25) * np.exp(wobble), sizes)


def test_quantile_is_that_of_students_t():
    assert quantile(0.95, 5) == pytest.approx(stats.t.ppf(0.975, 5), rel=1e-12)


def test_a_law_that_is_linear_in_logs_has_the_textbook_interval():
    rows = noisy()
    result = laws.fit("power", rows)
    line = stats.linregress(np.log(rows["N"]), np.log(rows["loss_nats"]))
    half = stats.t.ppf(0.975, 6) * line.stderr
    assert result.standard_errors["alpha"] == pytest.approx(line.stderr, rel=1e-9)
    assert result.intervals["alpha"] == pytest.approx(
        [-line.slope - half, -line.slope + half], rel=1e-4
    )


def test_a_profile_end_really_has_the_excess_it_claims():
    rows = noisy()
    result = laws.fit("power_offset", rows)
    best = result.best
    form = registry.get("power_offset")
    t = stats.t.ppf(0.975, best.dof)
    base = float((best.residuals**2).sum())
    # Fix E at each end, fit the other two by a plain search, compare the sums of squares.
    for end in result.intervals["E"]:
        reduced = np.log(rows["loss_nats"].to_numpy())
        excess = min(
            _least_squares_with_floor(rows["N"].to_numpy(), reduced, end, alpha)
            for alpha in np.linspace(0.2, 0.32, 1201)
        )
        assert (excess - base) / (base / best.dof) == pytest.approx(t**2, rel=2e-3)
    assert form.parameters == tuple(result.intervals)


def _least_squares_with_floor(sizes, log_loss, floor, alpha) -> float:
    """Least sum of squares over A at fixed E and alpha, by Newton on ln A."""
    a = np.log((np.exp(log_loss) - floor) * sizes**alpha).mean()
    for _ in range(20):
        power = np.exp(a) * sizes**-alpha
        slope = power / (floor + power)
        residual = log_loss - np.log(floor + power)
        a += (slope * residual).sum() / (slope**2).sum()
    return float((residual**2).sum())


def test_each_standard_error_belongs_to_its_own_coefficient():
    losses = LOSSES + 0.01 * np.array([1, -1, 1, -1, 1, -1])
    result = laws.fit("power_offset", ladder(losses))
    form = registry.get("power_offset")
    for name in result.params:
        leave = np.array(
            [
                estimate(form, np.delete(SIZES, i)[:, None], np.log(np.delete(losses, i))).params[
                    name
                ]
                for i in range(6)
            ]
        )
        jackknife = np.sqrt(5 / 6 * ((leave - leave.mean()) ** 2).sum())
        assert 0.5 < result.standard_errors[name] / jackknife < 2


def test_band_is_inside_the_interval_of_a_new_run_and_wider_far_away():
    result = laws.fit("power_offset", noisy())
    curve, run = result.interval([1e5, 1e7]), result.interval([1e5, 1e7], new_run=True)
    assert (run[:, 0] < curve[:, 0]).all() and (curve[:, 1] < run[:, 1]).all()
    width = np.log(curve[:, 1] / curve[:, 0])
    assert width[1] > 2 * width[0]
    band = result.block["band"]
    assert len(band) == 60 and band[0]["x"] == pytest.approx(1e4)
    assert band[-1]["x"] == pytest.approx(1e7)
    assert all(row["low"] < row["predicted_nats"] < row["high"] for row in band)
    assert [row["factor"] for row in result.block["extrapolation"]] == [2, 10]


def test_prediction_profile_agrees_with_the_delta_method_where_noise_is_small():
    rows = noisy(noise=1e-6)
    best = laws.fit("power_offset", rows).best
    u = best.centred(np.array([[1e7]]))
    loss, slopes = best.form.gradient(best.theta[None], u)
    slope = slopes[0, 0] / loss[0, 0]
    half = quantile(0.95, best.dof) * np.sqrt(slope @ covariance(best) @ slope)
    ends = profile(best, [Target(u=u[0])], 0.95)[0] + best.log_scale
    centre = best.log_loss(u)[0]
    assert ends == pytest.approx([centre - half, centre + half], abs=2e-3 * half)


def test_many_intervals_hold_the_truth():
    inside = []
    form = registry.get("power_offset")
    for seed in range(40):
        rows = noisy(seed)
        best = estimate(form, rows[["N"]].to_numpy(), np.log(rows["loss_nats"].to_numpy()))
        target = Target(u=best.centred(np.array([[1e7]]))[0])
        low, high = profile(best, [target], 0.95)[0] + best.log_scale
        inside.append(low <= np.log(1.8 + 60 * 1e7**-0.25) <= high)
    # 38 of 40 are expected; 33 or fewer would happen three times in a thousand.
    assert sum(inside) >= 34


def test_bootstrap_counts_what_it_cannot_use_and_repeats_itself():
    result = laws.fit("power_offset", ladder())
    first, second = (laws.bootstrap(result, 1000, seed=0) for _ in range(2))
    assert first.n_ok + first.n_failed + first.n_saturated == 1000
    # With six sizes 2.0% of resamples hold at most two of them, 23.1% exactly three.
    assert 8 <= first.n_failed <= 40 and 190 <= first.n_saturated <= 275
    assert first.intervals() is None and not first.usable
    assert first.to_json() == second.to_json() and np.array_equal(first.theta, second.theta)
    assert laws.bootstrap(result, 1000, seed=1).n_saturated != first.n_saturated
    json.dumps(first.to_json(), allow_nan=False)


def test_bootstrap_is_not_used_when_too_few_resamples_determine_the_law():
    result = laws.fit("power_offset", ladder(), intervals="bootstrap")
    assert "profile likelihood" in result.block["interval_method"]
    assert any("resamples determined the law" in text for text in result.warnings)


@pytest.mark.parametrize(
    ("count", "objective", "kind"),
    [
        (8, "least_squares", "profile"),
        (8, "huber", "profile"),
        (24, "least_squares", "robust"),
        (24, "huber", "bootstrap"),
        (24, "lad", "bootstrap"),
    ],
)
def test_the_default_method_follows_the_number_of_points(count, objective, kind):
    result = laws.fit("power_offset", noisy(count=count), objective=objective, resamples=100)
    assert result.block["interval_kind"] == kind


@pytest.mark.parametrize("method", ["robust", "bootstrap", "parametric"])
@pytest.mark.parametrize("objective", ["least_squares", "huber"])
def test_every_method_agrees_with_the_profile_where_noise_is_even(method, objective):
    rows = noisy(count=30)
    one, profiled = (
        laws.fit("power_offset", rows, objective=objective, intervals=kind, resamples=400)
        for kind in (method, "profile")
    )
    assert one.block["interval_kind"] == method
    for name in one.params:
        ratio = np.diff(one.intervals[name]) / np.diff(profiled.intervals[name])
        assert 0.5 < ratio[0] < 1.7
    for key in ("band", "extrapolation"):
        for row, other in zip(one.block[key], profiled.block[key], strict=True):
            assert 0.4 < (row["high"] - row["low"]) / (other["high"] - other["low"]) < 2
    (low, high), (below, above) = (
        r.interval_of(lambda p: np.log(p["A"]) / p["alpha"]) for r in (one, profiled)
    )
    assert 0.5 < (high - low) / (above - below) < 1.7


def test_percentiles_of_cases_are_expanded_and_those_of_simulations_are_not():
    rows = noisy(count=30)
    cases, simulated = (
        laws.fit("power_offset", rows, intervals=kind, resamples=300).resamples
        for kind in ("bootstrap", "parametric")
    )
    values = np.linspace(0, 1, 100_001)
    away = stats.t.ppf(0.975, 27) * np.sqrt(30 / 27)
    assert cases.ends(values, 0.95) == pytest.approx(stats.norm.cdf([-away, away]), abs=1e-5)
    assert simulated.ends(values, 0.95) == pytest.approx([0.025, 0.975], abs=1e-5)


def test_the_profile_of_a_wider_spread_has_the_excess_of_that_spread():
    best = laws.fit("power_offset", noisy()).best
    target = Target(functional=best.functional("alpha"))
    plain, wide = (
        profile(
            best, [target], 0.95, lambda s, f=f: (f * ordinary_spread(best, s)[0], 5 + 0 * s[:, 0])
        )
        for f in (1.0, 1.3)
    )
    level = 2 * stats.t.cdf(1.3 * stats.t.ppf(0.975, 5), 5) - 1
    assert plain == pytest.approx(profile(best, [target], 0.95), rel=1e-6)
    assert wide == pytest.approx(profile(best, [target], level), rel=1e-4)


def test_hubers_standard_error_is_his_formula():
    # Huber 1981, equation 7.6.5, with the factor K for few points.
    best = laws.fit("power_offset", noisy(2, 20), objective="huber", intervals="profile").best
    delta, residuals, count, size = best.problem.delta, best.residuals, 20, 3
    loss, slopes = best.form.gradient(best.theta[None], best.problem.u)
    jacobian = slopes[0] / loss[0][:, None]
    inside = (np.abs(residuals) <= delta).mean()
    square = (np.clip(residuals, -delta, delta) ** 2).sum() / (count - size)
    factor = 1 + size / count * (1 - inside) / inside
    expected = factor**2 * square / inside**2 * np.linalg.inv(jacobian.T @ jacobian)
    assert 0 < inside < 1
    assert covariance(best) == pytest.approx(expected, rel=1e-5)


def exact(exponent: float = 0.25, floor: float = 1.8) -> np.ndarray:
    return floor + 60 * SIZES**-exponent


def test_a_floor_that_the_data_do_not_show_is_not_printed_as_a_number():
    result = laws.fit("power_offset", ladder(20 * SIZES**-0.12 * np.exp(0.002 * np.cos(SIZES))))
    assert not result.block["determined"]["E"] and result.block["determined"]["alpha"]
    line = next(row for row in result.summary().splitlines() if row.startswith("  E "))
    assert "not determined" in line and ("bound 0" in line or "contains 0" in line)
    json.dumps(result.to_json(), allow_nan=False)


def test_a_coefficient_known_to_a_factor_of_hundred_at_best_is_not_determined():
    sizes = np.geomspace(1e6, 1e7, 6)
    wobble = 0.004 * np.array([1, -1, -1, 1, 1, -1])
    rows = ladder((1.8 + 60 * sizes**-0.25) * np.exp(wobble), sizes)
    result = laws.fit("power_offset", rows)
    low, high = result.intervals["A"]
    assert high is None or high > 100 * low
    assert not result.block["determined"]["A"]
    assert any(text.startswith("A is not determined") for text in result.warnings)
    assert "A      not determined" in result.summary()


def test_clean_data_determine_every_parameter():
    result = laws.fit("power_offset", ladder(exact()))
    assert all(result.block["determined"].values()) and not result.block["not_determined"]
    assert "not determined" not in result.summary()


@pytest.mark.parametrize(("decades", "fine"), [(0.3, False), (0.6, True)])
def test_tokens_over_less_than_half_a_decade_set_no_exponent(decades, fine):
    n = np.repeat(np.geomspace(1e7, 1e9, 5), 4)
    d = np.tile(np.geomspace(1e9, 10 ** (9 + decades), 4), 5)
    loss = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(1e-4 * np.cos(np.arange(20)))
    rows = pd.DataFrame({"N": n, "D": d, "loss_nats": loss})
    result = laws.fit("chinchilla", rows, cluster="none", intervals="profile")
    flags = result.block["determined"]
    assert flags["B"] is fine and flags["beta"] is fine and flags["alpha"]
    assert fine or "D spans 0.30 decades" in result.summary()


def test_singular_curvature_names_the_parameters_that_trade_off():
    n = np.repeat(np.geomspace(1e7, 1e9, 5), 4)
    x = np.column_stack([n, np.tile(np.geomspace(1e9, 1.05e9, 4), 5)])
    loss = 1.69 + 406.4 * x[:, 0] ** -0.34 + 410.7 * x[:, 1] ** -0.28
    best = estimate(registry.get("chinchilla"), x, np.log(loss))
    assert condition(best, np.ones((1, 20)))[0] > 1e9
    named = _singular(best)
    assert "E" in named and "beta" in named and "alpha" not in named


def test_degenerate_resamples_are_shown():
    result = laws.fit("power_offset", ladder(), intervals="bootstrap")
    counts = result.block["bootstrap"]
    assert result.block["interval_kind"] == "profile"
    assert f"{counts['n_failed']} failed" in result.summary()
    few = laws.fit("power_offset", noisy(count=8), intervals="bootstrap", seed=1)
    counts = few.block["bootstrap"]
    assert counts["n_ok"] < counts["n"] and few.block["interval_kind"] == "bootstrap"
    assert f"{counts['n'] - counts['n_ok']} degenerate left out" in few.summary()


def test_open_ends_are_null_in_strict_json():
    losses = LOSSES.copy()
    losses[4] = 7.9
    result = laws.fit("power_offset", ladder(losses))
    text = json.dumps(result.to_json(), allow_nan=False)
    assert "null" in text and any("not determined" in line for line in result.warnings)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_zero_and_one_is_refused(level):
    with pytest.raises(UserError, match="level"):
        laws.fit("power_offset", ladder(), level=level)


def test_wider_levels_give_wider_intervals():
    narrow, wide = (laws.fit("power_offset", noisy(), level=v).intervals for v in (0.68, 0.99))
    for name in narrow:
        assert wide[name][0] < narrow[name][0] < narrow[name][1] < wide[name][1]


class Share:
    """A quantity that is a bound method, a new object each time that it is asked for."""

    def of(self, p):
        return p["alpha"] / (p["alpha"] + p["beta"])


@pytest.mark.parametrize("intervals", ["profile", "bootstrap"])
def test_a_function_with_and_without_a_number_is_two_quantities(intervals):
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    loss = 1.7 + 400 * n**-0.34 + 410 * d**-0.28
    loss = loss * np.exp(np.random.default_rng(0).normal(0, 1e-3, len(n)))
    runs = pd.DataFrame({"N": n, "D": d, "loss_nats": loss})
    sure = laws.fit("chinchilla", runs, intervals=intervals, resamples=100).sure

    def moved(p, by=0.0):
        return p["alpha"] + by

    share = Share()
    targets = [
        *(Target(function=moved), Target(function=moved, at=1.0), Target(function=moved, at=2.0)),
        *(Target(function=share.of), Target(function=share.of)),
    ]
    found = sure.ends(targets, 0.95)
    assert found[1] == pytest.approx(found[0] + 1, rel=1e-6)
    assert found[2] == pytest.approx(found[0] + 2, rel=1e-6)
    assert found[3] == pytest.approx(found[4]) and 0 < found[3][0] < found[3][1] < 1
