"""A law for each value of an axis: differences of laws that are known, and what is refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit
from scipy.stats import f, t

from scalelab.errors import UserError
from scalelab.laws.answers import Material, get
from scalelab.laws.answers.words import sentences
from scalelab.laws.estimation.joint import MODELS, Group, f_test, joint
from scalelab.laws.study import fit_study

FLOOR, SIZES = 1.1, np.geomspace(1e4, 1e6, 6)
TRUTH = {"gpt2": (0.48, 0.28), "llama": (0.45, 0.28), "moe": (0.42, 0.31)}
"""Of each family, the loss above the floor at N = 1e5 and the exponent."""


def loss(family, n):
    above, exponent = TRUTH[family]
    return FLOOR + above * (n / 1e5) ** -exponent


def table(noise=0.0, sizes=SIZES, families=TRUTH, **columns) -> pd.DataFrame:
    random = np.random.default_rng(4)
    return pd.DataFrame(
        [
            {
                "id": f"{family}{n:.0f}", "label": f"{family}{n:.0f}", "family": family, "N": n,
                "D": 1e6, "C": 6e6 * n, "status": "ok", "seconds": 1.0, "threads": 1,
                "bits_per_byte": loss(family, n) * np.exp(noise * random.standard_normal()),
                "loss_nats": 3.0, **columns,
            }
            for family in families
            for n in sizes
        ]
    )  # fmt: skip


def by_axis(runs, **settings):
    return get("by_axis").make(Material(runs), {"axis": "family", **settings})


def groups(noise=0.0):
    runs = table(noise)
    return [
        Group(name, part["N"].to_numpy(), np.log(part["bits_per_byte"].to_numpy()))
        for name, part in runs.groupby("family")
    ]


@pytest.fixture
def together(monkeypatch):
    """Without the fit of each value alone, which takes the time and is tested in the first test."""

    def no_fit(*args, **kwargs):
        raise UserError("left out")

    monkeypatch.setattr("scalelab.laws.answers.by_axis.fit", no_fit)


def test_differences_of_known_laws_are_found():
    block = by_axis(table())
    json.dumps(block, allow_nan=False)
    assert (block["y"], block["x"], block["reference"]) == ("bits_per_byte", "N", "gpt2")
    assert block["floor"][0] == pytest.approx(FLOOR, rel=1e-4)
    assert block["at"] == pytest.approx(1e5)
    for one in block["values"]:
        above, exponent = TRUTH[one["value"]]
        assert one["exponent"][0] == pytest.approx(exponent, rel=1e-3)
        assert one["above_floor"][0] == pytest.approx(above, rel=1e-3)
        assert one["alone"]["alpha"][0] == pytest.approx(exponent, rel=1e-3)
        assert one["alone"]["E"][0] == pytest.approx(FLOOR, rel=1e-3)
    first, second, third = block["values"]
    assert first["offset_ratio"] is None
    assert second["exponent_difference"][0] == pytest.approx(0, abs=1e-4)
    assert second["offset_ratio"][0] == pytest.approx(0.45 / 0.48, rel=1e-3)
    assert third["exponent_difference"][0] == pytest.approx(0.03, rel=1e-2)
    for x, y in third["curve"]:
        assert y == pytest.approx(loss("moe", x), rel=1e-5)


def test_intervals_are_those_of_scipys_least_squares():
    """curve_fit's covariance, from its own numerical slopes, times Student's t."""
    data = groups(noise=0.003)
    x = np.concatenate([one.x for one in data])
    y = np.concatenate([one.log_loss for one in data])
    member = np.repeat(np.arange(3), len(SIZES))

    def model(u, floor, *theta):
        above, exponent = np.array(theta[:3])[member], np.array(theta[3:])[member]
        return np.log(floor + np.exp(above - exponent * u))

    best, covariance = curve_fit(
        model, np.log(x / 1e5), y, p0=[1, -0.7, -0.7, -0.7, 0.3, 0.3, 0.3], ftol=1e-14, xtol=1e-14
    )
    found = joint(data)
    half = t.ppf(0.975, 18 - 7) * np.sqrt(np.diag(covariance))
    for place in range(7):
        value, low, high = found.interval(found.one(place), 0.95)
        assert value == pytest.approx(best[place], rel=1e-4)
        assert (high - low) / 2 == pytest.approx(half[place], rel=1e-2)


@pytest.mark.usefixtures("together")
def test_differences_have_narrower_intervals_than_exponents():
    """What the floor does to one exponent it does to all."""
    for one in by_axis(table(noise=0.003))["values"][1:]:
        width = np.ptp(one["exponent"][1:])
        assert np.ptp(one["exponent_difference"][1:]) < 0.8 * width


@pytest.mark.usefixtures("together")
def test_the_tests_tell_offsets_exponents_and_floors_apart():
    block = by_axis(table(noise=0.001))
    offsets, exponents, floors = block["tests"]
    assert [test["differ_in"] for test in block["tests"]] == list(MODELS[1:])
    exact = [test["share"] for test in by_axis(table())["tests"]]
    assert sum(exact[:2]) == pytest.approx(1, abs=1e-6)
    assert [offsets["share"], exponents["share"]] == pytest.approx(exact[:2], abs=0.05)
    assert offsets["p"] < 1e-6 and exponents["p"] < 0.01
    assert floors["p"] > 0.01, "there is one floor"
    assert offsets["dof"] == [2, 18 - 9]
    alike = {name: (0.48, 0.28) for name in TRUTH}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRUTH, "llama", alike["llama"])
        patch.setitem(TRUTH, "moe", alike["moe"])
        same = by_axis(table(noise=0.001))["tests"]
    assert all(test["p"] > 0.01 for test in same)


def test_models_are_nested_and_f_is_the_extra_sum_of_squares():
    fits = [joint(groups(0.003), model) for model in MODELS]
    assert [len(one.theta) for one in fits] == [3, 5, 7, 9]
    assert all(small.rss >= large.rss - 1e-12 for small, large in itertools.pairwise(fits))
    ratio, extra, p = f_test(fits[0], fits[1], fits[3])
    assert ratio == pytest.approx((fits[0].rss - fits[1].rss) / 2 / (fits[3].rss / 9))
    assert extra == 2
    assert p == pytest.approx(f.sf(ratio, 2, 9), rel=1e-9)


@pytest.mark.usefixtures("together")
def test_a_floor_that_the_data_do_not_show_is_said():
    runs = table(noise=0.001)
    above = np.where(runs["family"] == "moe", 1.8, 2)
    runs["bits_per_byte"] = above * (runs["N"] / 1e5) ** -0.1 - 0.2  # faster than any power
    block = by_axis(runs)
    assert block["floor"] == [0.0, None, None]
    assert any("bound 0" in text for text in block["warnings"])


@pytest.mark.usefixtures("together")
def test_sparse_models_are_compared_by_what_a_token_passes():
    runs = table()
    runs["N_active"] = runs["N"]
    runs.loc[runs["family"] == "moe", "N"] *= 3
    block = by_axis(runs)
    assert block["x"] == "N_active"
    assert block["values"][2]["offset_ratio"][0] == pytest.approx(0.42 / 0.48, rel=1e-3)
    assert by_axis(runs, x="N")["values"][2]["offset_ratio"][0] > 0.9


@pytest.mark.usefixtures("together")
def test_another_reference_and_a_value_without_sizes():
    lone = pd.concat([table(), table(families=("gpt2",), sizes=SIZES[:2]).assign(family="t5")])
    with pytest.raises(UserError, match=r"^t5: found 2 sizes, expected at least 3 for a law"):
        by_axis(lone)
    failed = table().assign(status=lambda runs: np.where(runs["family"] == "moe", "diverged", "ok"))
    block = by_axis(failed, reference="llama")
    assert [one["value"] for one in block["values"]] == ["llama", "gpt2"]
    assert any(text.startswith("family moe is left out") for text in block["warnings"])
    with pytest.raises(UserError, match="family moe, the reference, has no runs to fit"):
        by_axis(failed, reference="moe")


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize(
    ("runs", "settings", "sentence"),
    [
        (table(), {"reference": "bert"}, r"found reference 'bert', expected one of gpt2, llama"),
        (table(), {"level": 2}, r"level is 2\.0: expected a number between 0 and 1"),
        (table(), {"x": "M"}, "M"),
        (table(families=("gpt2",)), {}, r"found 1 values with a law, expected 2 or more"),
        (table(sizes=SIZES[:3], families=("gpt2", "moe")), {}, None),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(runs, settings, sentence):
    if sentence is None:  # six points, five numbers: it can
        assert by_axis(runs, **settings)["dof"] == 1
        return
    with pytest.raises(UserError, match=sentence):
        by_axis(runs, **settings)


@pytest.mark.usefixtures("together")
def test_warnings_on_settings_of_one_rule_and_on_other_texts():
    rule = by_axis(table(lr=0.01))["warnings"]
    assert any("the lr of one rule" in text for text in rule)
    own = table().assign(
        lr=lambda runs: runs["family"].map({"gpt2": 0.01, "llama": 0.02, "moe": 0.01})
    )
    assert not by_axis(own)["warnings"]
    texts = table().assign(eval_bytes=lambda runs: np.where(runs["family"] == "moe", 9, 10))
    assert any("differ in eval_bytes" in text for text in by_axis(texts)["warnings"])


def test_a_study_says_it_in_sentences():
    laws = fit_study(table(0.003), [], "families", [{"answer": "by_axis", "axis": "family"}])
    assert laws["failed"] == []
    told = " ".join(sentences(laws["answers"][0]))
    assert "With one floor for every family, 1.1" in told
    assert "For llama the exponent differs by" in told and "times that of gpt2" in told
    assert "offsets 7" in told and "(p < 0.001)" in told


@pytest.mark.usefixtures("together")
def test_the_loss_of_an_evaluation_set_is_compared_and_named():
    runs = table(0.003).rename(columns={"bits_per_byte": "code:bits_per_byte"})
    runs = runs.assign(eval_bytes=lambda found: found["N"], **{"code:bytes": 10})
    block = by_axis(runs.assign(bits_per_byte=2.0), set="code")
    assert block["y"] == "code:bits_per_byte" and block["values"][1]["exponent"][0] > 0.2
    assert not block["warnings"], "the split that is reported is not what is compared"
    told = sentences({"answer": "by_axis", **block})[0]
    assert told.startswith("On the set code, with one floor for every family, 1.1")
    differ = by_axis(runs.assign(bits_per_byte=2.0, **{"code:bytes": runs["N"]}), set="code")
    assert any("differ in code:bytes" in text for text in differ["warnings"])
    with pytest.raises(UserError, match="words:bits_per_byte"):
        by_axis(runs.assign(bits_per_byte=2.0), set="words")


@pytest.mark.usefixtures("together")
def test_a_number_is_told_with_what_it_is_a_number_of():
    numbers = {"gpt2": 0.0, "llama": 0.5, "moe": 1.0}
    runs = table(0.003).assign(weight=lambda found: found["family"].map(numbers))
    told = " ".join(sentences({"answer": "by_axis", **by_axis(runs, axis="weight")}))
    assert "for weight 0.0 and is" in told and "For weight 0.5 the exponent differs" in told
    assert "times that of weight 0.0" in told
