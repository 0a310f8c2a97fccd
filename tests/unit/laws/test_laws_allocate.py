"""Optimal size and tokens: closed form, numbers, duality, and intervals that agree."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import published, registry
from scalelab.laws.allocation.allocate import allocate, along, least_flops, minimise_loss
from scalelab.laws.allocation.closed import optimum

CHINCHILLA = [name for name in published.names() if published.get(name).law == "chinchilla"]


def loss_of(name):
    p = published.get(name).params
    return lambda n, d: p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"]


def noisy(noise=2e-3, seed=0) -> pd.DataFrame:
    """Six sizes times six numbers of tokens of the rounded law of Hoffmann et al."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    loss = loss_of("hoffmann2022")(n, d)
    loss = loss * np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))
    return pd.DataFrame({"N": n, "D": d, "loss_nats": loss})


@pytest.mark.parametrize("name", CHINCHILLA)
@pytest.mark.parametrize("flops", [1e15, 1e18, 1e21, 1e25])
def test_the_numeric_optimum_is_that_of_the_closed_form(name, flops):
    params = published.get(name).params
    log_n, log_d = optimum(registry.get("chinchilla"), params, flops)
    n, d = minimise_loss(loss_of(name), flops)
    assert n[0] == pytest.approx(np.exp(log_n), rel=1e-8)
    assert d[0] == pytest.approx(np.exp(log_d), rel=1e-8)
    found = allocate(published.get(name), flops)
    assert found.n == pytest.approx(n[0], rel=1e-8)
    assert found.training_flops == pytest.approx(flops, rel=1e-12)


@pytest.mark.parametrize("tokens", [0.0, 1e11, 1e13, 1e15])
def test_the_numeric_optimum_agrees_with_scipy_on_any_law(tokens):
    def loss(n, d):  # no sum of powers
        return 1.7 + np.log1p(3e3 * n**-0.5 + 2e4 * d**-0.45)

    flops = 1e22
    n, d = minimise_loss(loss, flops, tokens)
    assert 6 * n[0] * d[0] + 2 * n[0] * tokens == pytest.approx(flops, rel=1e-12)
    middle = np.log(n[0])
    top = np.log(flops / (6 + 2 * tokens)) if tokens else middle + 2
    theirs = minimize_scalar(
        lambda u: loss(np.exp(u), flops / (6 * np.exp(u)) - tokens / 3),
        bounds=(middle - 2, min(middle + 2, top)),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert n[0] == pytest.approx(np.exp(theirs.x), rel=1e-6)


def test_many_laws_at_once_are_each_alone():
    scale = np.array([0.5, 1.0, 2.0])[:, None]

    def loss(n, d):
        return 1.7 + scale * 400 * n**-0.34 + 400 * d**-0.28

    together = minimise_loss(loss, 1e20, 0.0, 3)[0]
    alone = [
        minimise_loss(lambda n, d, s=s: 1.7 + s * 400 * n**-0.34 + 400 * d**-0.28, 1e20)[0][0]
        for s in scale.ravel()
    ]
    assert together == pytest.approx(alone, rel=1e-8)


def test_no_law_loses_its_optimum_to_rounding():
    generator = np.random.default_rng(0)
    a, b = np.exp(generator.normal(6, 0.5, (2, 3000, 1)))
    alpha, beta = generator.uniform(0.25, 0.45, (2, 3000, 1))

    def loss(n, d):
        return 1.7 + a * n**-alpha + b * d**-beta

    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    best = ratio * (1e21 / 6) ** (beta / (alpha + beta))
    assert minimise_loss(loss, 1e21, 0.0, 3000)[0] == pytest.approx(best[:, 0], rel=1e-6)
    assert np.isfinite(minimise_loss(loss, 1e21, 1e11, 3000)[0]).all()


@pytest.mark.parametrize("tokens", [0.0, 1e12])
def test_least_flops_for_a_loss_is_the_other_side_of_least_loss_for_the_flops(tokens):
    forth = allocate(published.get("besiroglu2024"), 3e22, inference_tokens=tokens)
    back = allocate(published.get("besiroglu2024"), loss=forth.loss, inference_tokens=tokens)
    assert back.flops == pytest.approx(3e22, rel=1e-9)
    assert back.n == pytest.approx(forth.n, rel=1e-6)
    assert back.loss == pytest.approx(forth.loss, rel=1e-12)


def test_tokens_for_a_loss_cost_least_where_the_slope_says():
    """Sardana et al. 2023, equation 3, solved with the loss as a constraint on D."""
    p, tokens, target = published.get("hoffmann2022-unrounded").params, 1e13, 2.2

    def cost(log_n):
        n = np.exp(log_n)
        room = target - p["E"] - p["A"] * n ** -p["alpha"]
        return np.log(6 * n * (p["B"] / room) ** (1 / p["beta"]) + 2 * n * tokens)

    least = np.log(p["A"] / (target - p["E"])) / p["alpha"]
    theirs = minimize_scalar(
        cost, bounds=(least + 1e-3, least + 5), method="bounded", options={"xatol": 1e-12}
    )
    n, _, flops = least_flops(loss_of("hoffmann2022-unrounded"), target, tokens)
    assert n[0] == pytest.approx(np.exp(theirs.x), rel=1e-6)
    assert flops[0] == pytest.approx(np.exp(theirs.fun), rel=1e-9)


def test_more_inference_means_a_smaller_model_on_more_tokens():
    found = [
        allocate(published.get("hoffmann2022"), loss=2.2, inference_tokens=t)
        for t in (0, 1e11, 1e12, 1e13)
    ]
    assert (np.diff([one.n for one in found]) < 0).all()
    assert (np.diff([one.d for one in found]) > 0).all()
    assert (np.diff([one.flops for one in found]) > 0).all()


def test_a_fit_gives_intervals_that_follow_from_one_another():
    fit = laws.fit("chinchilla", noisy())
    found = allocate(fit, 1e21)
    low, high = found.intervals["N"]
    assert low < found.n < high and low < 1.824217697e9 < high
    assert found.intervals["D"] == pytest.approx((1e21 / 6 / high, 1e21 / 6 / low))
    ratio = (1e21 / 6 / high**2, 1e21 / 6 / low**2)
    assert found.intervals["tokens_per_parameter"] == pytest.approx(ratio)
    assert found.intervals["loss"][0] < found.loss < found.intervals["loss"][1]
    share, below, above = found.exponents["N"]
    assert below < share < above and below < 0.28 / 0.62 < above
    assert found.exponents["D"] == pytest.approx((1 - share, 1 - above, 1 - below))
    assert found.level == 0.95 and "profile" in found.interval_method
    json.dumps(found.to_json(), allow_nan=False)
    wider = allocate(fit, 1e21, level=0.99).intervals["N"]
    assert wider[0] < low and high < wider[1]


@pytest.mark.parametrize("intervals", ["profile", "robust", "bootstrap"])
def test_many_budgets_at_once_are_those_one_by_one(intervals):
    fit = laws.fit("chinchilla", noisy(), intervals=intervals, resamples=100)
    budgets = [1e15, 1e18, 1e21, 1e25]
    for one, alone in zip(along(fit, budgets), map(partial(allocate, fit), budgets), strict=True):
        assert (one.n, one.d, one.loss, one.flops) == (alone.n, alone.d, alone.loss, alone.flops)
        assert one.interval_method == alone.interval_method
        for name, pair in alone.intervals.items():
            assert one.intervals[name] == pytest.approx(pair, rel=1e-6), name
        assert one.exponents["N"] == pytest.approx(alone.exponents["N"], rel=1e-6)


def test_budgets_without_an_optimum_are_left_out():
    data = noisy().assign(U=1e9)
    fit = laws.fit("data_constrained", data, fixed={"R_D": 15.4, "R_N": 5.3})
    found = along(fit, [1e-3, 1e18], fixed={"U": 1e9})
    assert [one.flops for one in found] == [1e18]
    with pytest.raises(UserError, match="has a column U"):
        along(fit, [1e18])


@pytest.mark.parametrize("intervals", ["profile", "robust"])
def test_intervals_of_a_numeric_optimum_agree_with_those_of_the_closed_form(intervals):
    fit = laws.fit("chinchilla", noisy(), intervals=intervals)
    closed = allocate(fit, 1e21)
    # One token of inference asks for the numeric way and moves nothing.
    numeric = allocate(fit, 1e21, inference_tokens=1.0)
    assert numeric.method == "numeric" and "delta method" in numeric.interval_method
    assert numeric.n == pytest.approx(closed.n, rel=1e-6)
    for name, pair in closed.intervals.items():
        assert np.log(numeric.intervals[name]) == pytest.approx(np.log(pair), abs=3e-3)


def test_intervals_from_a_bootstrap_say_so():
    fit = laws.fit("chinchilla", noisy(), intervals="bootstrap", resamples=200)
    found = allocate(fit, loss=2.5)
    assert "resamples" in found.interval_method and set(found.intervals) == {
        "N",
        "D",
        "flops",
        "tokens_per_parameter",
    }
    assert found.intervals["flops"][0] < found.flops < found.intervals["flops"][1]


def test_constants_alone_have_no_intervals():
    found = allocate(published.get("hoffmann2022"), 1e21)
    assert found.intervals == {} and found.level is None
    assert "no intervals" in found.interval_method


def test_repeated_data_need_their_unique_tokens():
    law = published.get("muennighoff2023")
    with pytest.raises(UserError, match="has a column U: its value is missing"):
        allocate(law, 1e21)
    plenty, scarce = (allocate(law, 1e21, fixed={"U": unique}) for unique in (1e13, 1e9))
    p = law.params
    # Without repeats the law is that of one pass, alpha = beta: N_opt = G (C/6)^0.5.
    ratio = (p["A"] / p["B"]) ** (1 / (2 * p["alpha"]))
    assert plenty.n == pytest.approx(ratio * (1e21 / 6) ** 0.5, rel=1e-5)
    assert scarce.loss > plenty.loss and scarce.d > 4e9
    for factor in (0.98, 1.02):
        n = scarce.n * factor
        x = np.array([[n, 1e21 / 6 / n, 1e9]])
        assert laws.predict(law, x)[0] > scarce.loss


def test_the_joint_law_of_kaplan_has_an_optimum():
    found = allocate(published.get("kaplan2020-joint"), 1e21)
    for factor in (0.98, 1.02):
        x = np.array([[found.n * factor, found.d / factor]])
        assert laws.predict(published.get("kaplan2020-joint"), x)[0] > found.loss


@pytest.mark.parametrize(
    "keys,said",
    [
        ({}, "either FLOPs or a loss"),
        ({"flops": 1e20, "loss": 2.0}, "either FLOPs or a loss"),
        ({"flops": -1.0}, "FLOPs: found -1"),
        ({"loss": 1.5}, "loss 1.5 is the least one of no budget .* floor of the law is 1.69"),
        ({"loss": 1e4}, "loss 10000 is the least one of no budget"),
        ({"flops": 1e20, "inference_tokens": -1.0}, "inference tokens: found -1"),
    ],
)
def test_questions_without_an_answer_are_refused(keys, said):
    with pytest.raises(UserError, match=said):
        allocate(published.get("hoffmann2022"), **keys)


def test_laws_without_an_optimum_are_refused():
    with pytest.raises(UserError, match="law power is one of N: an allocation needs"):
        allocate(published.get("kaplan2020-N"), 1e21)
    block = published.get("hoffmann2022").to_block()
    flat = {**block, "params": {**block["params"], "alpha": 0.0}}
    with pytest.raises(UserError, match="alpha is 0: the law does not fall"):
        allocate(flat, 1e21)
    with pytest.raises(UserError, match="has no optimum"):
        allocate(flat, 1e21, inference_tokens=1.0)
    lone = minimise_loss(lambda n, d: 1 + n**-0.3 + 0 * d, 1e20)
    assert np.isnan(lone[0][0])
