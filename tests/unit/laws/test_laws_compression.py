"""The answer compression: exponents that the data were made with, and a front counted by hand."""

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.answers.compression import compression
from scalelab.laws.answers.registry import Material
from scalelab.laws.answers.words import describe


def table(tokens=None):
    rows = []
    generator = np.random.default_rng(4)
    for n in (1e4, 2e4, 4e4, 8e4):
        for ratio in (10, 40, 160):
            d = tokens or n * ratio
            damage = 0.01 * (n / 1e4) ** -0.3 * (d / n / 10) ** 0.6
            damage *= np.exp(0.02 * generator.standard_normal())
            rows.append(
                {
                    **{"N": n, "D": d, "quantised/loss_nats": 5 - n / 1e5},
                    "logit_lens/middle_excess_nats": 0.7,  # an excess that is no damage
                    **{"quantised/fp32_bytes": 4 * n, "quantised/int4_bytes": n / 2},
                    **{"quantised/int4_excess_nats": damage, "quantised/int4_excess_nats_se": 1e-4},
                }
            )
    return pd.DataFrame(rows)


def test_exponents_come_back_with_their_intervals():
    (row,) = compression(Material(table()), {})["rows"]
    for name, truth in (("exponent_N", -0.3), ("exponent_tokens_per_parameter", 0.6)):
        value, low, high = row[name]
        assert low < truth < high and high - low < 0.1
        assert value == pytest.approx(truth, abs=0.03)
    assert row["points"] == 12 and row["scatter"] == pytest.approx(0.02, rel=0.6)


def test_at_one_number_of_tokens_the_line_is_that_of_size_alone():
    (row,) = compression(Material(table(tokens=4e6)), {})["rows"]
    assert row["exponent_tokens_per_parameter"] is None
    assert row["exponent_N"][0] == pytest.approx(-0.9, abs=0.05)


def test_damage_below_its_error_is_left_out_and_said():
    runs = table()
    runs.loc[:1, "quantised/int4_excess_nats"] = [-1e-3, 1e-4]
    block = compression(Material(runs), {})
    assert block["rows"][0]["points"] == 10
    assert "2 of 12 runs show no damage" in block["warnings"][0]
    runs.loc[:6, "quantised/int4_excess_nats"] = 0.0
    few = compression(Material(runs), {})
    assert few["rows"] == [] and "5 of 12 runs show a damage, too few" in few["warnings"][0]
    runs["quantised/int4_excess_nats"] = 0.0
    none = compression(Material(runs), {})
    assert none["rows"] == [] and "a line needs 4" in none["warnings"][0]
    assert "quantised/int4" in describe({"answer": "compression", **none})


def test_the_front_holds_what_nothing_smaller_beats():
    runs = table().iloc[[0, 3]].copy()  # 1e4 and 2e4 parameters
    runs["quantised/int4_excess_nats"] = [0.2, 0.05]
    front = compression(Material(runs), {})["front"]
    # By bytes: 5e3 (5.1), 1e4 (4.85), 4e4 (4.9), 8e4 (4.8).
    assert [point["loss"] for point in front] == pytest.approx([5.1, 4.85, 4.9, 4.8])
    assert [point["front"] for point in front] == [True, True, False, True]


@pytest.mark.parametrize(
    ("drop", "settings", "said"),
    [
        ("quantised/int4_excess_nats", {}, "no column of damage"),
        ("D", {}, "D"),
        (None, {"level": 95}, "level is 95"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(drop, settings, said):
    runs = table().drop(columns=[drop] if drop else [])
    with pytest.raises(UserError, match=said):
        compression(Material(runs), settings)
