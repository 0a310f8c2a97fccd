"""Comparing laws: AICc, prediction of the largest sizes, and the average over laws."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws.judgement.average import (
    Predictive,
    akaike_weights,
    averaged_scores,
    mixture_quantiles,
    pseudo_bma,
    widening,
)
from scalelab.laws.judgement.candidates import candidates, wide_columns
from scalelab.laws.judgement.select import compare, folds
from scalelab.laws.runs.points import prepare

ONE = ("power", "power_offset")


def ladder(floor: float = 1.8, count: int = 9, noise: float = 0.002) -> pd.DataFrame:
    sizes = np.geomspace(1e5, 1e8, count)
    wobble = np.random.default_rng(5).normal(0, noise, count)
    return pd.DataFrame({"N": sizes, "loss_nats": (floor + 60 * sizes**-0.25) * np.exp(wobble)})


def surface(alpha: float = 0.3, beta: float = 0.3) -> pd.DataFrame:
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e8, 6), [1e8, 1e9, 1e10]))
    wobble = np.random.default_rng(2).normal(0, 0.003, len(n))
    losses = (1.7 + 300 * n**-alpha + 500 * d**-beta) * np.exp(wobble)
    return pd.DataFrame({"N": n, "D": d, "loss_nats": losses})


def student(centre: float, scale: float, dof: float) -> Predictive:
    return Predictive(*(np.array([v]) for v in (centre, scale, scale, dof)))


def test_the_law_that_made_the_data_wins_by_both_criteria():
    found = compare(ladder(), ONE)
    first, second = found.rivals
    assert (first.name, second.name) == ("power_offset", "power")
    assert first.delta_aicc == 0 and second.delta_aicc > 10
    assert first.log_density > second.log_density + 1
    assert first.rms_error_relative < 0.01 < second.rms_error_relative
    assert first.weight > 0.95 and first.akaike_weight > 0.99
    bent = compare(ladder(floor=0.0), ONE)
    assert {one.name for one in bent.rivals if one.delta_aicc == 0} == {"power"}


def test_aicc_is_that_of_the_fits_and_akaike_weights_follow_from_it():
    found = compare(ladder(), ONE)
    fitted = {name: laws.fit(name, ladder()).block["aicc"] for name in ONE}
    assert {one.name: one.aicc for one in found.rivals} == pytest.approx(fitted)
    # Burnham and Anderson 2002, equation 2.9, with differences of 0, 2 and 10.
    expected = np.exp([0.0, -1.0, -5.0])
    weights = akaike_weights([100.0, 102.0, None, 110.0])
    assert [weights[i] for i in (0, 1, 3)] == pytest.approx(expected / expected.sum())
    assert weights[2] is None and akaike_weights([None]) == [None]


def test_each_left_out_size_is_predicted_from_all_below():
    rows = ladder()
    found = compare(rows, ONE)
    sizes = rows["N"].to_numpy()
    assert found.left_out == tuple((float(v),) for v in sizes[-3:])
    errors = []
    for place in (6, 7, 8):
        below = laws.fit("power", rows.iloc[:place])
        errors.append(below.predict(sizes[place])[0] / rows["loss_nats"].iloc[place] - 1)
    power = next(one for one in found.rivals if one.name == "power")
    assert power.rms_error_relative == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)
    assert power.left_out == 3


def test_many_sizes_are_left_out_in_few_groups_with_all_points_of_a_size():
    n = np.repeat(np.geomspace(1e5, 1e8, 30), 2)
    d = np.tile([1e9, 1e10], 30)
    points = prepare(
        pd.DataFrame({"N": n, "D": d, "loss_nats": 2 + n**-0.1 + d**-0.1}), ("N", "D"), "loss_nats"
    )
    groups = folds(points)
    assert len(groups) == 6 and sum(group.sum() for group in groups) == 20
    tops = [points.x[group, 0].max() for group in groups]
    assert tops == sorted(tops) and tops[-1] == n.max()


def test_one_law_alone_gives_its_own_interval_widened_by_what_it_missed():
    found = compare(ladder(), ["power_offset"])
    fitted = laws.fit("power_offset", ladder())
    x = np.array([[2e8], [1e9]])
    (rival,) = found.rivals
    middle, own, wide = (
        np.log(v) for v in (fitted.predict(x), fitted.interval(x, True), found.interval(x))
    )
    assert rival.widening >= 1
    assert wide - middle[:, None] == pytest.approx(rival.widening * (own - middle[:, None]))
    assert found.predict(x) == pytest.approx(fitted.predict(x), rel=1e-6)


def test_a_comparison_scores_itself_on_runs_that_come_later():
    rows = ladder(count=12)
    found = compare(rows.iloc[:9], ONE)
    scores = found.score(rows.iloc[9:], rows["loss_nats"].iloc[9:])
    assert set(scores) == {*ONE, "average"}
    assert all(one["left_out"] == 3 for one in scores.values())
    assert scores["average"]["rms_error_relative"] < 0.01 < scores["power"]["rms_error_relative"]


def test_the_average_lies_between_the_laws_and_spans_them_where_they_differ():
    found = compare(ladder(count=6, noise=0.02), ONE)
    x = np.array([[1e10]])
    each = [one.at(x, 0.95).centre[0] for one in found.fitted]
    middle = float(np.log(found.predict(x))[0])
    assert min(each) <= middle <= max(each)
    low, high = found.interval(x)[0]
    assert low < found.predict(x)[0] < high


def test_tied_exponents_are_offered_and_win_where_they_are_true():
    found = compare(surface(), ["chinchilla"])
    names = {one.name: one for one in found.rivals}
    tied = names["chinchilla, alpha = beta"]
    assert tied.parameters == 4 and names["chinchilla"].parameters == 5
    assert tied.params["alpha"] == tied.params["beta"] == pytest.approx(0.3, abs=0.02)
    assert tied.delta_aicc == 0 and tied.tied == (("alpha", "beta"),)


def test_laws_of_the_same_columns_are_found_in_the_registry():
    rows = surface()
    wide, columns = wide_columns(rows, None, None)
    names = {one.name for one in candidates(None, wide, columns)}
    assert columns == ("N", "D") and {"chinchilla", "chinchilla, alpha = beta", "kaplan"} <= names
    assert not names & {"power", "downstream"}
    wide, columns = wide_columns(rows[["N", "loss_nats"]], None, None)
    names = {one.name for one in candidates(None, wide, columns)}
    assert columns == ("N",) and {"power", "power_offset"} <= names and "kaplan" not in names
    wide, columns = wide_columns(rows, None, "C")
    names = [one.name for one in candidates(None, wide, columns)]
    assert {"power", "power_offset"} <= set(names)
    assert "compute_frontier" not in names, "it is of the best runs alone"
    with pytest.raises(UserError, match="compute_frontier is of some of the points alone"):
        candidates(["compute_frontier"], wide, columns)


def test_a_law_that_cannot_be_fitted_is_listed_with_its_sentence():
    found = compare(ladder(count=5), (*ONE, "broken_1"))
    out = next(one for one in found.rivals if one.name == "broken_1")
    assert "5 sizes, 6 parameters: no degrees of freedom" in out.reason and out.weight == 0
    assert "broken_1" in found.summary() and "not fitted: 5 sizes" in found.summary()
    unasked = compare(ladder(count=5))
    reasons = {one.name: one.reason for one in unasked.rivals if one.parameters is None}
    assert reasons["broken_1"] == "5 points are too few to judge 6 parameters by AICc"
    with pytest.raises(UserError, match="no law can be fitted"):
        compare(ladder(count=3), ["broken_1"])


def test_laws_of_fewer_columns_are_fitted_to_the_same_points():
    found = compare(surface(), ["chinchilla", "power_offset"])
    alone = next(one for one in found.rivals if one.name == "power_offset")
    assert alone.delta_aicc > 50, "tokens matter here"
    assert np.isfinite(found.predict(pd.DataFrame({"N": [1e9], "D": [1e11]}))).all()
    with pytest.raises(UserError, match="downstream is one of"):
        compare(surface(), ["chinchilla", "downstream"])


def test_tokens_bound_to_sizes_are_compared_in_sizes_alone():
    rows = ladder(count=7).assign(D=lambda frame: 20 * frame["N"])
    assert compare(rows).points.columns == ("N",)


def test_the_comparison_is_a_table_and_strict_json():
    found = compare(ladder(), ONE)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [law["name"] for law in content["laws"]] == [one.name for one in found.rivals]
    assert [row["factor"] for row in content["extrapolation"]] == [2, 10]
    assert set(content["extrapolation"][0]["laws"]) == set(ONE)
    assert content["averaged"]["left_out"] == 3 and "pseudo-BMA+" in content["weights_method"]
    frame = found.to_frame()
    assert frame["weight"].sum() == pytest.approx(1) and frame["law"].iloc[0] == "power_offset"
    assert "conditional on its form" in found.summary()


def test_a_scaled_student_has_the_density_and_quantiles_of_scipy():
    one, reference = student(1.0, 0.2, 4.0), stats.t(4, loc=1.0, scale=0.2)
    y = np.array([1.3])
    assert one.log_density(y)[0] == pytest.approx(reference.logpdf(1.3))
    assert one.below(y)[0] == pytest.approx(reference.cdf(1.3))
    assert one.ends(0.9)[0] == pytest.approx(reference.ppf([0.05, 0.95]))


def test_quantiles_of_a_mixture_have_its_probability_below_them():
    parts, weights = [student(0.0, 0.1, 5), student(0.5, 0.3, 3)], np.array([0.3, 0.7])
    for share in (0.025, 0.5, 0.9):
        (found,) = mixture_quantiles(parts, weights, [share])[0]
        total = 0.3 * stats.t(5, 0, 0.1).cdf(found) + 0.7 * stats.t(3, 0.5, 0.3).cdf(found)
        assert total == pytest.approx(share, abs=1e-9)


def test_weights_follow_what_was_left_out():
    one_group = pseudo_bma(np.array([[2.0, 1.0]]))
    assert one_group == pytest.approx(np.exp([2, 1]) / np.exp([2, 1]).sum())
    equal = pseudo_bma(np.array([[3.0, 1.0], [1.0, 3.0]]))
    assert equal == pytest.approx([0.5, 0.5], abs=0.02)
    clear = pseudo_bma(np.array([[9.0, 1.0], [9.0, 1.0]]))
    assert clear[0] > 0.999


def test_a_law_is_widened_until_its_normal_scores_have_mean_square_one():
    y = [np.array([v]) for v in (0.3, -0.4, 0.2)]
    parts = [student(0.0, 0.1, 1e9)] * 3
    # For the normal the scores are y / scale, so the factor is their root mean square.
    assert widening(parts, y) == pytest.approx(np.sqrt(np.mean([9, 16, 4])), rel=1e-6)
    assert widening([student(0.0, 0.5, 4)] * 3, y) == 1.0
    heavy = [student(0.0, 0.1, 1)] * 3
    factor = widening(heavy, y)
    normal = [stats.norm.ppf(stats.t(1, 0, 0.1 * factor).cdf(v[0])) for v in y]
    assert np.mean(np.square(normal)) == pytest.approx(1, rel=1e-6)


def test_the_average_is_judged_by_what_other_groups_say():
    # Each law is right on one of two groups, so the other group chooses the wrong one.
    right, wrong = student(0.0, 0.01, 50), student(1.0, 0.01, 50)
    groups = [np.zeros(1), np.zeros(1)]
    found = averaged_scores([[right, wrong], [wrong, right]], groups, level=0.95)
    assert found["left_out"] == 2 and found["rms_error_relative"] > 0.9
    # What one missed on the first group widens it on the second.
    far = student(1.0, 0.3, 1e9)
    wide = averaged_scores([[far, far]], groups, level=0.95)
    assert wide["inside"] == 2
