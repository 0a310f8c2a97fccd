"""What is special about one law: limits, domains, the rows it holds for."""

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.forms.frontier import frontier
from scalelab.laws.shapes.constraints import Constraints

BASE = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}


def loss(name: str, params: dict[str, float], *columns: np.ndarray | float) -> np.ndarray:
    form = registry.get(name)
    x = np.column_stack(np.broadcast_arrays(*[np.asarray(c, float) for c in columns]))
    return form.value(form.theta(params)[None], np.log(x))[0]


# Repeated tokens (data_constrained)


def test_without_repeats_and_for_small_models_the_law_is_that_of_unique_tokens():
    d = np.geomspace(1e9, 1e11, 5)
    n = 1e7  # below the size for which these tokens are optimal
    params = BASE | {"R_D": 15.4, "R_N": 5.3}
    expected = loss("chinchilla", BASE, n, d)
    assert loss("data_constrained", params, n, d, d) == pytest.approx(expected, rel=1e-12)
    # More unique tokens than are read are no repeats either.
    assert loss("data_constrained", params, n, d, 7 * d) == pytest.approx(expected, rel=1e-12)


def test_repeats_are_worth_less_than_new_tokens_and_more_than_nothing():
    n, unique = 1e8, 1e9
    params = BASE | {"R_D": 15.4, "R_N": 5.3}
    for epochs in (2.0, 4.0, 40.0):
        repeated = loss("data_constrained", params, n, epochs * unique, unique)[0]
        new = loss("data_constrained", params, n, epochs * unique, epochs * unique)[0]
        once = loss("data_constrained", params, n, unique, unique)[0]
        assert new < repeated < once
    # Four epochs are almost as good as new text, endless ones are worth R_D + 1 epochs.
    endless = loss("data_constrained", params, 1e7, 1e9 * unique, unique)[0]
    assert endless == pytest.approx(loss("chinchilla", BASE, 1e7, 16.4 * unique)[0], rel=1e-12)
    form = registry.get("data_constrained")
    assert form.derived(params)["worth_of_endless_repeats"] == pytest.approx(16.4)


def test_a_larger_model_than_the_unique_tokens_merit_counts_for_less():
    params = BASE | {"R_D": 15.4, "R_N": 5.3}
    unique = 1e9
    g = (BASE["alpha"] * BASE["A"] / (BASE["beta"] * BASE["B"])) ** (1 / 0.62)
    optimal = g * (g * unique) ** (0.28 / 0.34)
    # N_opt is the best size for its compute, when it reads these tokens once.
    nearby = optimal * np.array([0.9, 1.0, 1.1])
    along = loss("chinchilla", BASE, nearby, optimal * unique / nearby)
    assert along[1] < along[0] and along[1] < along[2]
    n = optimal * 10
    effective = optimal * (1 + 5.3 * (1 - np.exp(-9 / 5.3)))
    expected = loss("chinchilla", BASE, effective, unique)
    assert loss("data_constrained", params, n, unique, unique) == pytest.approx(expected, rel=1e-12)


def test_single_epoch_runs_leave_the_worth_of_repeats_open_on_both_sides():
    random = np.random.default_rng(0)
    n, d = np.exp(random.uniform(np.log(1e6), np.log(1e7), 30)), np.geomspace(1e9, 1e11, 30)
    observed = loss("chinchilla", BASE, n, d) * np.exp(random.normal(0, 0.003, 30))
    form, x = registry.get("data_constrained"), np.column_stack([n, d, d])
    held = Constraints({name: BASE[name] for name in ("E", "A", "alpha")})
    best = estimate(form, x, np.log(observed), constraints=held)
    assert best.converged
    assert best.params["B"] == pytest.approx(BASE["B"], rel=0.5)


# Broken power laws


def test_each_break_adds_to_the_exponent():
    params = {"a": 0.0, "b": 30.0, "c0": 0.1, "c1": 0.3, "d1": 1e6, "f1": 0.2}
    params |= {"c2": -0.25, "d2": 1e9, "f2": 0.2}
    for at, slope in ((1e4, 0.1), (3e7, 0.4), (1e12, 0.15)):
        here, there = loss("broken_2", params, np.array([at, at * 1.001]))
        assert np.log(here / there) / np.log(1.001) == pytest.approx(slope, abs=1e-3)
    assert registry.get("broken_2").derived(params)["last_exponent"] == pytest.approx(0.15)


def test_a_break_lies_inside_the_data_and_breaks_are_in_order():
    sizes = np.geomspace(1e5, 1e9, 40)[:, None]
    truth = {"a": 1.0, "b": 30.0, "c0": 0.1, "c1": 0.2, "d1": 1e6, "f1": 0.2}
    truth |= {"c2": -0.15, "d2": 1e8, "f2": 0.2}
    log_loss = np.log(loss("broken_2", truth, sizes[:, 0]))
    noise = np.random.default_rng(0).normal(0, 0.001, 40)
    best = estimate(registry.get("broken_2"), sizes, log_loss + noise)
    assert 1e5 <= best.params["d1"] < best.params["d2"] <= 1e9
    outside = np.geomspace(1e9, 1e11, 40)[:, None]
    found = estimate(registry.get("broken_1"), outside, np.log(loss("broken_2", truth, outside)))
    assert 1e9 * (1 - 1e-9) <= found.params["d1"] <= 1e11 * (1 + 1e-9)


# Compute frontier


def test_the_frontier_is_what_no_other_beats_with_as_little_compute():
    cost = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0])[:, None]
    losses = np.log([5.0, 4.0, 4.5, 4.2, 4.0, 3.0, 3.0])
    assert frontier(cost, losses).tolist() == [True, True, False, False, False, True, False]
    assert registry.get("compute_frontier").select is frontier  # type: ignore[attr-defined]


def test_the_frontier_of_any_points_agrees_with_its_definition():
    random = np.random.default_rng(4)
    cost, losses = random.uniform(1, 2, (200, 1)), random.normal(size=200)
    expected = [
        not any(c <= cost[i, 0] and v <= losses[i] for j, (c, v) in pairs(cost, losses) if j != i)
        for i in range(200)
    ]
    assert frontier(cost, losses).tolist() == expected
    order = random.permutation(200)
    assert np.array_equal(frontier(cost[order], losses[order]), np.array(expected)[order])


def pairs(cost: np.ndarray, losses: np.ndarray) -> list:
    return list(enumerate(zip(cost[:, 0], losses, strict=True)))


# Downstream error


def downstream(count: int = 20, noise: float = 0.005) -> pd.DataFrame:
    """Errors by published-like constants: 0.85 - 2.2 exp(-0.7 L)."""
    losses = np.linspace(2.3, 4.2, count)
    error = 0.85 - 2.2 * np.exp(-0.7 * losses)
    wobble = np.exp(np.random.default_rng(0).normal(0, noise, count))
    return pd.DataFrame({"loss_nats": losses, "error": error * wobble})


def test_error_against_loss_is_fitted_and_predicted_with_intervals():
    result = laws.fit("downstream", downstream(), y="error")
    for name, value in {"epsilon": 0.85, "k": 2.2, "gamma": 0.7}.items():
        low, high = result.intervals[name]
        assert (low is None or low <= value) and (high is None or value <= high)
    predicted = result.predict(np.array([2.0, 3.0]))
    assert predicted == pytest.approx(0.85 - 2.2 * np.exp(-0.7 * np.array([2.0, 3.0])), rel=0.05)
    low, high = result.interval(np.array([2.0]))[0]
    assert low < predicted[0] < high


def test_of_an_error_the_smallest_loss_is_left_out():
    rows = downstream()
    held = laws.fit("downstream", rows, y="error").block["heldout"]
    assert held["left_out"] == [rows["loss_nats"].min()] and held["fitted_on"] == len(rows) - 1
    assert abs(held["error_relative"]) < 0.1


def test_an_error_that_falls_with_the_loss_is_refused():
    rows = downstream()
    rows["error"] = rows["error"].to_numpy()[::-1]
    with pytest.raises(UserError, match="does not rise with loss_nats"):
        laws.fit("downstream", rows, y="error")


def test_the_frontier_is_fitted_to_the_best_run_at_each_budget_alone():
    flops = np.geomspace(1e15, 1e19, 9)
    best = 1.8 + 900 * flops**-0.15
    rows = pd.DataFrame(
        {"C": [*flops, *(1.3 * flops[1:])], "loss_nats": [*best, *(1.1 * best[1:] + 0.2)]}
    )
    rows = rows.sample(frac=1, random_state=0)
    found = laws.fit("compute_frontier", rows)
    assert found.params == pytest.approx({"E": 1.8, "A": 900, "alpha": 0.15}, rel=1e-6)
    assert len(found.points.x) == len(flops)
    assert "8 of 17 points set aside: another run is as good for less C" in found.warnings
    assert laws.fit("power_offset", rows, "C").params["alpha"] != pytest.approx(0.15, rel=0.01)


# What the rest of the package does with such laws


def repeats_of_one_data_set() -> laws.FitResult:
    random = np.random.default_rng(1)
    n, d = np.exp(random.uniform(np.log(1e7), np.log(1e9), 60)), 1e9 * np.geomspace(1, 100, 60)
    params = BASE | {"R_D": 15.4, "R_N": 5.3}
    losses = loss("data_constrained", params, n, d, 1e9) * np.exp(random.normal(0, 0.002, 60))
    rows = pd.DataFrame({"N": n, "D": d, "U": 1e9, "loss_nats": losses})
    return laws.fit("data_constrained", rows, fixed=BASE)


def test_one_set_of_unique_tokens_read_several_times_is_enough():
    found = repeats_of_one_data_set()
    low, high = found.intervals["R_D"]
    assert low is not None and high is not None and low < 15.4 < high
    latex = found.to_latex()
    assert r"\alpha = 0.34\ \mathrm{(fixed)}" in latex and "R_D = " in latex


def test_a_prediction_that_no_free_parameter_reaches_has_an_interval_without_width():
    found = repeats_of_one_data_set()
    at = {"N": [1e7], "D": [1e10], "U": [1e10]}
    assert found.interval(at)[0] == pytest.approx(found.predict(at)[[0, 0]], rel=1e-9)


def test_the_other_greek_names_and_indices_are_set_in_latex():
    latex = laws.fit("downstream", downstream(), y="error").to_latex()
    assert r"\epsilon = " in latex and r"\gamma = " in latex


def test_a_wild_error_is_no_mixed_unit():
    rows = downstream()
    rows.loc[3, "error"] *= 1.08
    fitted = laws.fit("downstream", rows, y="error")
    assert fitted.block["extrapolation"] == []
