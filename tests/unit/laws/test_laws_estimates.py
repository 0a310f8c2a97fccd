"""Point estimates: known tables, and that nothing but the data moves the answer."""

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.runs.points import prepare

SIZES = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]
LOSSES = [5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107]


def ladder(losses=LOSSES, **more) -> pd.DataFrame:
    """Six sizes, 1.80 + 60 N^-0.25 rounded to four places."""
    names = [f"r{place + 1}" for place in range(len(losses))]
    return pd.DataFrame({"run": names, "N": SIZES[: len(losses)], "loss_nats": losses, **more})


def grid() -> pd.DataFrame:
    """Three by three, 1.69 + 406.4/N^0.34 + 410.7/D^0.28 rounded to four places."""
    pairs = [(n, d) for n in (1e6, 1e7, 1e8) for d in (2e7, 2e8, 2e9)]
    losses = [9.1052, 7.3428, 6.4179, 7.0930, 5.3306, 4.4057, 6.1732, 4.4108, 3.4859]
    return pd.DataFrame(
        {"N": [p[0] for p in pairs], "D": [p[1] for p in pairs], "loss_nats": losses}
    )


GRID = {"E": 1.690008, "A": 406.281, "alpha": 0.339978, "B": 410.756, "beta": 0.280010}


def test_the_ladder_gives_its_constants_and_predicts_the_largest_size():
    result = laws.fit("power_offset", ladder())
    assert result.params == pytest.approx({"E": 1.79984, "A": 59.983, "alpha": 0.249972}, rel=1e-4)
    held = result.block["heldout"]
    assert held["left_out"] == [3e7] and held["fitted_on"] == 5
    assert held["predicted_nats"] == pytest.approx(2.6107, abs=2e-4)
    assert held["low"] < held["observed_nats"] < held["high"]


def test_without_a_floor_the_ladder_has_the_slope_of_the_logs():
    result = laws.fit("power", ladder())
    slope = np.polyfit(np.log(SIZES), np.log(LOSSES), 1)[0]
    assert result.params["alpha"] == pytest.approx(-slope, rel=1e-9)
    assert result.params["alpha"] == pytest.approx(0.120, abs=5e-4)


def test_the_grid_gives_its_constants_however_often_each_row_is_written():
    once = laws.fit("chinchilla", grid())
    many = laws.fit("chinchilla", pd.concat([grid()] * 100))
    assert once.params == pytest.approx(GRID, rel=1e-5)
    assert many.params == once.params
    assert many.points.duplicates == 891 and "891 rows repeat" in " ".join(many.warnings)


@pytest.mark.parametrize("weight", [1e-9, 1e-3, 1e7])
def test_multiplying_the_objective_by_a_constant_moves_nothing(weight):
    form, rows = registry.get("chinchilla"), grid()
    x, y = rows[["N", "D"]].to_numpy(), np.log(rows["loss_nats"].to_numpy())
    plain, scaled = estimate(form, x, y), estimate(form, x, y, weights=np.full(9, weight))
    assert scaled.params == pytest.approx(plain.params, rel=1e-9)
    assert scaled.value == pytest.approx(plain.value * weight, rel=1e-6)
    assert scaled.converged and scaled.fraction_at_best == plain.fraction_at_best


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_moves_nothing(seed):
    form, answers = registry.get("chinchilla"), []
    for rows in (grid(), grid().sample(frac=1, random_state=seed)):
        points = prepare(rows, form.columns, "loss_nats")
        answers.append(estimate(form, points.x, points.log_loss).params)
    assert answers[0] == answers[1]


def test_reversed_rows_give_the_same_bytes():
    forward = laws.fit("power_offset", ladder()).to_json()
    backward = laws.fit("power_offset", ladder().iloc[::-1]).to_json()
    assert forward == backward


def test_an_exact_duplicate_is_dropped_with_a_notice():
    rows = pd.concat([ladder(), ladder().iloc[[2]]])
    result = laws.fit("power_offset", rows)
    assert result.params == laws.fit("power_offset", ladder()).params
    assert "1 row repeats another and is counted once" in result.warnings
    failed = [c["check"] for c in result.block["checklist"] if not c["ok"]]
    assert "duplicates" in failed


def test_sizes_in_other_units_leave_exponent_and_floor_alone():
    rows = ladder()
    plain = laws.fit("power_offset", rows).params
    scaled = laws.fit("power_offset", rows.assign(N=rows["N"] * 1e6)).params
    assert scaled["alpha"] == pytest.approx(plain["alpha"], rel=1e-9)
    assert scaled["E"] == pytest.approx(plain["E"], rel=1e-9)
    assert scaled["A"] == pytest.approx(1896.09, rel=1e-3)


def test_losses_in_other_units_scale_floor_and_factor_alone():
    scaled = laws.fit("power_offset", ladder(np.array(LOSSES) / np.log(2))).params
    assert scaled == pytest.approx({"E": 2.5966, "A": 86.54, "alpha": 0.24997}, rel=2e-4)


@pytest.mark.parametrize("objective,delta", [("huber", None), ("huber", 1e-3), ("huber", 0.05)])
def test_huber_agrees_with_least_squares_where_no_residual_is_large(objective, delta):
    plain = laws.fit("power_offset", ladder()).params
    robust = laws.fit("power_offset", ladder(), objective=objective, delta=delta)
    assert robust.params == pytest.approx(plain, rel=1e-3)


def test_huber_resists_one_bad_size_among_many():
    sizes = np.geomspace(1e5, 1e8, 13)
    losses = 1.8 + 60 * sizes**-0.25
    losses *= np.exp(np.random.default_rng(3).normal(0, 0.002, 13))
    losses[6] *= 1.1
    rows = pd.DataFrame({"N": sizes, "loss_nats": losses})
    plain = laws.fit("power_offset", rows).params["alpha"]
    robust = laws.fit("power_offset", rows, objective="huber").params["alpha"]
    assert abs(robust - 0.25) < 0.015
    assert abs(robust - 0.25) < abs(plain - 0.25)


def test_seeds_of_a_size_count_as_one_point():
    rows = pd.concat([ladder(seed=1), ladder(np.array(LOSSES) * 1.002, seed=2)])
    result = laws.fit("power_offset", rows)
    assert len(result.block["points"]) == 6 and result.block["dof"] == 3
    assert {point["seeds"] for point in result.block["points"]} == {2}
    first = result.block["points"][0]
    assert first["loss_nats"] == pytest.approx(5.1740 * np.sqrt(1.002), rel=1e-9)
    assert first["seed_sd_nats"] == pytest.approx(5.1740 * 0.002 / np.sqrt(2), rel=1e-6)
    more = pd.concat([rows, ladder(seed=3).iloc[[0]].assign(loss_nats=5.1740)])
    assert len(laws.fit("power_offset", more).block["points"]) == 6


def test_tokens_tied_to_parameters_are_fitted_as_one_variable_and_it_says_so():
    sizes = [1e6, 3e6, 1e7, 3e7, 1e8, 3e8]
    losses = [9.1052, 6.9679, 5.3306, 4.2871, 3.4859, 2.9740]
    rows = pd.DataFrame({"N": sizes, "D": [20 * n for n in sizes], "loss_nats": losses})
    result = laws.fit("chinchilla", rows)
    assert result.law == "power_offset" and result.columns == ("N",)
    assert "one variable" in result.warnings[0]
    assert 0.28 < result.params["alpha"] < 0.34


def test_a_pure_power_law_is_flagged_instead_of_given_a_floor():
    losses = [5.0238, 4.4033, 3.8109, 3.3402, 2.8909, 2.5338]
    result = laws.fit("power_offset", ladder(losses))
    assert result.params == pytest.approx({"E": 0, "A": 20.0, "alpha": 0.12}, rel=2e-3, abs=1e-3)
    assert result.intervals["E"][0] == 0.0
    assert "E = " in result.warnings[0] and "contains 0" in result.warnings[0]
    rival = result.block["alternatives"][0]
    assert rival["law"] == "power" and rival["aicc"] < result.block["aicc"]


def test_floor_exactly_at_its_bound_is_a_clean_minimum():
    # Steeper at large sizes than any power law: the best floor is 0.
    sizes = np.array(SIZES)
    losses = np.exp(2 - 0.1 * np.log(sizes / 1e5) - 0.004 * np.log(sizes / 1e5) ** 2)
    result = laws.fit("power_offset", ladder(losses))
    assert result.params["E"] == 0.0
    assert any("E is at its bound 0" in text for text in result.warnings)
    power = laws.fit("power", ladder(losses))
    assert result.params["alpha"] == pytest.approx(power.params["alpha"], rel=1e-6)


def test_starts_and_minima_are_reported():
    block = laws.fit("chinchilla", grid()).to_json()
    assert block["starts"] > 100 and 0 < block["fraction_at_best"] <= 1
    assert block["gradient_norm"] < 1e-9
    assert all(row["objective"] > block["objective"] for row in block["other_minima"])
