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


def timed(*models):
    """Runs of one form, of (loss, tokens a second, its error); a second form is slower by half."""
    rows = []
    for place, (loss, rate, error) in enumerate(models):
        row = {"N": 1e4 * 2**place, "D": 1e6, "speed/loss_nats": loss}
        row |= {"speed/fp32_8_tokens_per_second": rate, "speed/fp32_8_tokens_per_second_se": error}
        row |= {"speed/int8_8_tokens_per_second": rate / 2, "speed/int8_excess_nats": 0.1}
        row |= {"speed/int8_8_tokens_per_second_se": error / 2}
        row |= {"speed/yardstick_8_tokens_per_second": 70.0}
        rows.append(row)
    return pd.DataFrame(rows)


def test_the_front_of_speed_holds_what_nothing_as_quick_beats_and_says_where_times_decide():
    """A 100, B 98 and C 60 tokens a second, each of less loss; B is within the errors of A."""
    runs = timed((5.0, 100.0, 1.0), (4.8, 98.0, 1.0), (4.5, 60.0, 1.0), (4.7, 40.0, 1.0))
    block = compression(Material(runs), {})
    found = [
        (one["form"], one["tokens_per_second"], one["loss"], one["front"], one["clear"])
        for one in block["speed_front"]
    ]
    assert found == [
        ("fp32", 100.0, 5.0, True, False),
        ("fp32", 98.0, 4.8, True, True),
        ("fp32", 60.0, 4.5, True, True),
        ("int8", 50.0, pytest.approx(5.1), False, False),
        ("int8", 49.0, pytest.approx(4.9), False, False),
        ("fp32", 40.0, 4.7, False, False),
        ("int8", 30.0, pytest.approx(4.6), False, False),
        ("int8", 20.0, pytest.approx(4.8), False, False),
    ]
    said = describe({"answer": "compression", **block})
    assert "Writing 8 texts at once, of 8 models and forms 3 have the least loss" in said
    assert "2 of them by more than the errors; their forms are fp32." in said


def test_each_number_of_texts_has_a_front_of_its_own_and_a_run_without_times_has_no_point():
    runs = timed((5.0, 100.0, 1.0), (4.5, 60.0, 1.0))
    for column in [name for name in runs.columns if "_8_" in name]:
        runs[column.replace("_8_", "_1_")] = runs[column] / 4
    runs.loc[0, "speed/fp32_1_tokens_per_second"] = np.nan
    points = compression(Material(runs), {})["speed_front"]
    assert [one["texts"] for one in points] == [1] * 3 + [8] * 4
    best = [(one["texts"], one["form"], one["loss"]) for one in points if one["front"]]
    assert best == [(1, "fp32", 4.5), (8, "fp32", 5.0), (8, "fp32", 4.5)]


def test_a_loss_that_is_less_by_no_more_than_its_error_puts_nothing_on_the_front_for_sure():
    runs = timed((5.0, 100.0, 1.0), (4.8, 60.0, 1.0))
    quick = {"speed/int8_8_tokens_per_second": [200.0, 120.0]}
    for error, clear in ((0.001, True), (0.1, False)):
        # Within a run the error of the excess counts, and not that of the loss.
        more = {"speed/int8_excess_nats_se": error, "speed/loss_nats_se": 0.05, **quick}
        points = compression(Material(runs.assign(**more)), {})["speed_front"]
        slow = points[-1]
        assert (slow["form"], slow["loss"], slow["front"]) == ("fp32", 4.8, True)
        assert slow["clear"] == clear
    # Between runs that of the loss does.
    for error, clear in ((0.01, True), (0.1, False)):
        near = timed((5.0, 100.0, 1.0), (4.95, 60.0, 1.0)).assign(**{"speed/loss_nats_se": error})
        best = [one for one in compression(Material(near), {})["speed_front"] if one["front"]]
        assert [(one["loss"], one["clear"]) for one in best] == [(5.0, True), (4.95, clear)]


def test_speeds_are_those_at_one_pace_of_the_machine():
    """A run that was measured while everything took twice as long."""
    runs = timed((5.0, 100.0, 1.0), (4.8, 98.0, 1.0), (4.5, 60.0, 1.0))
    slow = runs.copy()
    slow.loc[1, [name for name in runs.columns if "_8_" in name]] /= 2
    before, after = (compression(Material(one), {})["speed_front"] for one in (runs, slow))
    assert before == after


def test_speeds_without_their_yardstick_are_refused():
    runs = timed((5.0, 100.0, 1.0)).drop(columns=["speed/yardstick_8_tokens_per_second"])
    with pytest.raises(UserError, match="speed/yardstick_8_tokens_per_second"):
        compression(Material(runs), {})


def test_channels_that_two_measures_cut_have_one_line():
    runs = table()
    for column in ("_excess_nats", "_excess_nats_se"):
        for way in ("pruned/channels12", "speed/channels12", "speed/int8"):
            runs[way + column] = runs["quantised/int4" + column]
    ways = [row["way"] for row in compression(Material(runs), {})["rows"]]
    assert ways == ["quantised/int4", "pruned/channels12", "speed/int8"]


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
