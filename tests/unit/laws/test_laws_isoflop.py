"""IsoFLOP profiles and exponents: against a known law, and against other regressions."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scalelab.errors import UserError
from scalelab.laws.allocation.exponents import frontier, power_law
from scalelab.laws.allocation.isoflop import _profile, isoflop

A, ALPHA, B, BETA = 406.4, 0.34, 410.7, 0.28
SHARE = BETA / (ALPHA + BETA)
BUDGETS = tuple(np.geomspace(1e18, 1e22, 5))


def loss_of(n, d):
    return 1.69 + A * n**-ALPHA + B * d**-BETA


def best_size(flops):
    return (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** SHARE


def grid(half_width=4.0, sizes=7, off=1.0, budgets=BUDGETS) -> pd.DataFrame:
    """Sizes log-spaced around `off` times the best one of each budget, without noise."""
    rows = []
    for flops in budgets:
        for n in best_size(flops) * off * np.geomspace(1 / half_width, half_width, sizes):
            rows.append((n, flops / 6 / n, flops, loss_of(n, flops / 6 / n)))
    return pd.DataFrame(rows, columns=["N", "D", "C", "loss_nats"])


# What the module's docstring and its warning say of the error of N_opt.
@pytest.mark.parametrize(
    "half_width,degree,least,most",
    [
        (4, 2, 1.3, 1.5),
        (8, 2, 2.9, 3.4),
        (32, 2, 7.8, 9.3),
        (8, 3, 0.0, 0.1),
        (32, 3, 0.0, 0.6),
    ],
)
def test_a_parabola_misplaces_the_optimum_by_what_is_documented(half_width, degree, least, most):
    percent = []
    for sizes in (7, 15):
        found = isoflop(grid(half_width, sizes), degree=degree, window=None)
        percent += [100 * (p.n_opt / best_size(p.flops) - 1) for p in found.profiles]
    assert least - 0.05 < min(percent) and max(percent) < most + 0.05


def test_the_exponents_are_those_of_the_law():
    found = isoflop(grid())
    assert found.frontier.n_law.exponent == pytest.approx(SHARE, abs=1e-4)
    assert found.frontier.d_law.exponent == pytest.approx(1 - SHARE, abs=1e-4)
    assert found.warnings == ()
    names = ("N", "D", "tokens_per_parameter", "loss")
    n, d, ratio, loss = (found.frontier.at(3e20)[name][0] for name in names)
    assert 6 * n * d == pytest.approx(3e20, rel=1e-6) and ratio == pytest.approx(d / n, rel=1e-9)
    best = best_size(3e20)
    assert loss == pytest.approx(loss_of(best, 3e20 / 6 / best), rel=1e-5)
    json.dumps(found.to_json(), allow_nan=False)
    assert "5 of 5 budgets" in found.summary()


def test_a_minimum_outside_the_sizes_is_no_minimum():
    rows = pd.DataFrame(
        {"N": [1e5, 2e5, 4e5, 8e5], "loss_nats": [10.8737, 9.4015, 8.3360, 7.6129], "C": 1e15}
    )
    with pytest.raises(UserError, match=r"C = 1e\+15: minimum not bracketed, .* largest size"):
        isoflop(rows)


def test_a_budget_without_a_minimum_is_left_out_by_name():
    rows = grid()
    best = best_size(BUDGETS[1])
    rows = rows[(rows["C"] != BUDGETS[1]) | (rows["N"] < best * 0.9)]
    extra = grid(half_width=32, sizes=13, budgets=BUDGETS[3:4])
    extra = extra[extra["N"] > best_size(BUDGETS[3]) * 1.1]
    found = isoflop(pd.concat([rows[rows["C"] != BUDGETS[3]], extra]))
    refused = {p.flops: p.refused for p in found.profiles if p.refused}
    assert list(refused) == pytest.approx([BUDGETS[1], BUDGETS[3]])
    few, outside = refused.values()
    assert few == "3 sizes, 4 are needed"
    assert "minimum not bracketed" in outside and "smallest size" in outside
    assert found.frontier.n_law.points == 3
    assert found.warnings[0].startswith("left out: C = 1e+19: 3 sizes")


def test_budgets_are_found_by_their_flops_or_named():
    jitter = np.random.default_rng(1).uniform(0.97, 1.03, 35)
    rows = grid().assign(nominal=lambda t: t["C"]).assign(C=lambda t: t["C"] * jitter)
    assert len(isoflop(rows).profiles) == 5
    assert [p.flops for p in isoflop(rows, budget="nominal").profiles] == pytest.approx(BUDGETS)
    with pytest.raises(UserError, match="0 of 35 FLOP budgets"):
        isoflop(rows, tolerance=1e-6)
    with pytest.raises(UserError, match="column 'budgets' is missing"):
        isoflop(rows, budget="budgets")


def test_flops_are_made_of_sizes_and_tokens_where_there_are_none():
    plain, made = isoflop(grid()), isoflop(grid().drop(columns="C"))
    assert made.frontier.n_law.exponent == pytest.approx(plain.frontier.n_law.exponent, rel=1e-9)
    assert "6 N D" in made.convention
    with pytest.raises(UserError, match="no column of FLOPs"):
        isoflop(grid().drop(columns=["C", "D"]))


def test_order_does_not_matter_and_seeds_are_one_point():
    rows = grid()
    plain = isoflop(rows).to_json()
    assert isoflop(rows.iloc[::-1]).to_json() == plain
    up, down = (rows.assign(loss_nats=rows["loss_nats"] * f, seed=f) for f in (1.01, 1 / 1.01))
    seeds = isoflop(pd.concat([up, down]))
    assert seeds.frontier.n_law.exponent == pytest.approx(plain["N_opt"]["exponent"], rel=1e-9)


def test_failed_runs_do_not_count():
    rows = grid().assign(status="ok")
    bad = rows.iloc[[3, 10]].assign(status="diverged", loss_nats=np.nan)
    found, plain = isoflop(pd.concat([rows, bad])), isoflop(rows)
    assert found.frontier.to_json() == plain.frontier.to_json()
    assert found.warnings == ("2 rows that failed: row 36, row 37",)


def test_trials_of_one_size_count_by_their_best():
    rows = grid().assign(lr=1e-3)
    worse = rows.iloc[[3, 10]].assign(lr=3e-3, loss_nats=lambda t: t["loss_nats"] * 1.1)
    found = isoflop(pd.concat([rows, worse]))
    assert found.frontier.to_json() == isoflop(rows).frontier.to_json()
    assert found.warnings == ("2 rows not best of their cell: row 36, row 37",)


def test_grids_that_bias_are_warned_of():
    assert any("x4" in text for text in isoflop(grid(half_width=16), window=None).warnings)
    assert not isoflop(grid(half_width=16, sizes=15), degree=3, window=None).warnings
    off = isoflop(grid(half_width=6, off=4.5, sizes=9), window=None)
    assert any("optimum at the edge of the profile" in text for text in off.warnings)


def test_a_window_takes_the_sizes_near_the_best():
    wide = isoflop(grid(half_width=64, sizes=19), window=4.1)
    assert {int(p.used.sum()) for p in wide.profiles} == {7}
    assert max(abs(p.n_opt / best_size(p.flops) - 1) for p in wide.profiles) < 0.02


def test_the_error_of_a_minimum_is_the_spread_of_repeated_minima():
    flops, noise = 1e20, 2e-3
    n = best_size(flops) * np.geomspace(1 / 4, 4, 9)
    clean, generator = loss_of(n, flops / 6 / n), np.random.default_rng(0)
    found = [
        _profile(flops, n, flops / 6 / n, clean * np.exp(generator.normal(0, noise, 9)), 2, None, 4)
        for _ in range(400)
    ]
    spread = np.std([np.log(p.n_opt) for p in found])
    assert np.sqrt(np.mean([p.log_sd**2 for p in found])) == pytest.approx(spread, rel=0.12)


def test_weights_of_the_minima_are_used():
    noisy = grid(sizes=9)
    noisy["loss_nats"] *= np.exp(np.random.default_rng(2).normal(0, 2e-3, len(noisy)))
    plain, weighted = isoflop(noisy), isoflop(noisy, weighted=True)
    kept = weighted.profiles
    pair = power_law([p.flops for p in kept], [p.n_opt for p in kept], [p.log_sd for p in kept])
    assert weighted.frontier.n_law.exponent == pair.exponent != plain.frontier.n_law.exponent


@pytest.mark.parametrize(
    "keys,said",
    [
        ({"degree": 4}, "degree is 4"),
        ({"window": 0.5}, "window is 0.5"),
        ({"tolerance": 2.0}, "tolerance is 2.0"),
        ({"min_sizes": 2}, "min_sizes is 2"),
        ({"n": "M"}, "column 'M' is missing"),
    ],
)
def test_options_that_make_no_sense_are_refused(keys, said):
    with pytest.raises(UserError, match=said):
        isoflop(grid(), **keys)


def test_a_regression_of_logs_agrees_with_scipy():
    generator = np.random.default_rng(5)
    x = np.geomspace(1e18, 1e21, 9)
    y = 0.1 * x**0.5 * np.exp(generator.normal(0, 0.1, 9))
    ours, theirs = power_law(x, y), stats.linregress(np.log(x), np.log(y))
    assert ours.exponent == pytest.approx(theirs.slope, rel=1e-10)
    assert ours.coefficient == pytest.approx(np.exp(theirs.intercept), rel=1e-8)
    assert ours.standard_error == pytest.approx(theirs.stderr, rel=1e-9)
    half = stats.t(7).ppf(0.975) * theirs.stderr
    assert ours.interval == pytest.approx((theirs.slope - half, theirs.slope + half), rel=1e-9)
    assert ours.r_squared == pytest.approx(theirs.rvalue**2, rel=1e-9)


def test_a_weighted_regression_agrees_with_numpy_and_ignores_the_scale_of_the_weights():
    generator = np.random.default_rng(6)
    x, sd = np.geomspace(1e18, 1e21, 8), generator.uniform(0.05, 0.3, 8)
    y = 0.1 * x**0.5 * np.exp(generator.normal(0, sd))
    ours = power_law(x, y, sd)
    line, cov = np.polyfit(np.log(x), np.log(y), 1, w=1 / sd, cov=True)
    assert ours.exponent == pytest.approx(line[0], rel=1e-9)
    assert ours.standard_error == pytest.approx(np.sqrt(cov[0, 0]), rel=1e-9)
    assert power_law(x, y, sd * 100).interval == pytest.approx(ours.interval, rel=1e-9)


def test_intervals_of_exponents_and_of_the_line_hold_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(7)
    x, inside = np.geomspace(1e18, 1e21, 6), np.zeros(2)
    for _ in range(1000):
        law = power_law(x, 0.1 * x**0.5 * np.exp(generator.normal(0, 0.1, 6)))
        low, high = law.interval_at(1e22)[0]
        inside += [law.interval[0] < 0.5 < law.interval[1], low < 0.1 * 1e11 < high]
    assert (np.abs(inside / 1000 - 0.95) < 0.025).all()


def test_two_pairs_give_exponents_without_intervals():
    pairs = frontier([1e18, 1e20], [1e7, 1e8])
    assert pairs.n_law.exponent == pytest.approx(0.5) and pairs.n_law.interval == (None, None)
    assert pairs.at(1e19)["N"] == (pytest.approx(10**7.5), None, None)
    assert pairs.outside(1e19) is None and "outside" in (pairs.outside(1e21) or "")
    json.dumps(pairs.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "x,y,said",
    [
        ([1e18], [1e7], "1 distinct values of x"),
        ([1e18, 1e18], [1e7, 2e7], "1 distinct values of x"),
        ([1e18, 1e19], [1e7, -1], "y, point 2: found -1"),
        ([1e18, np.nan], [1e7, 1e8], "x, point 2: found nan"),
        ([1e18, 1e19], [1e7, 1e8, 1e9], "2 values of x, 3 of y"),
    ],
)
def test_pairs_that_hold_no_exponent_are_refused(x, y, said):
    with pytest.raises(UserError, match=said):
        power_law(x, y)
