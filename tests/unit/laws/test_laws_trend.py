"""The answer `trend`: a straight line in log10 N through what was measured."""

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.answers.registry import Material
from scalelab.laws.answers.trend import trend
from scalelab.laws.answers.words import sentences

SIZES = np.array([1e4, 1e5, 1e6, 1e7])


def table(values, **columns):
    frame = pd.DataFrame({"N": SIZES, "D": 1e6, "status": "ok", "calibration/ece": values})
    frame["calibration/ece_se"] = 0.01
    return frame.assign(**columns)


def test_a_line_is_found_with_students_interval():
    """Against numpy's own fit."""
    values = np.array([0.1, 0.22, 0.31, 0.43])
    block = trend(Material(table(values)), {"level": 0.9})
    (row,) = block["rows"]
    (slope, start), covariance = np.polyfit(np.log10(SIZES), values, 1, cov=True)
    assert row["slope"] == pytest.approx(slope)
    assert row["line"] == pytest.approx([start, slope])
    away = 2.919986 * np.sqrt(covariance[0, 0])  # Student's t, 2 degrees of freedom, 95%
    assert row["interval"] == pytest.approx([slope - away, slope + away], rel=1e-5)
    assert row["steady"] and [one["se"] for one in row["sizes"]] == pytest.approx([0.01] * 4)
    assert "a tenfold (90% interval)." in sentences({"answer": "trend", **block})[0]


def test_a_line_that_may_be_none_is_said_to():
    block = trend(Material(table([0.3, 0.1, 0.35, 0.2])), {})
    low, high = block["rows"][0]["interval"]
    assert low < 0 < high and not block["rows"][0]["steady"]
    assert "which may be none" in sentences({"answer": "trend", **block})[0]


def test_what_is_the_same_for_all_sizes_has_a_slope_of_none():
    """Rounding must not make a trend of it."""
    block = trend(Material(table([12.1] * 4)), {})
    assert block["rows"][0]["slope"] == 0 and block["rows"][0]["interval"] == [0, 0]
    assert "which may be none" in sentences({"answer": "trend", **block})[0]


def test_seeds_are_points_and_shorter_or_failed_runs_are_left_out():
    whole = table([0.1, 0.2, 0.3, 0.4])
    seeds = table([0.12, 0.22, 0.32, 0.42])
    short = table([0.9] * 4, D=5e5).iloc[:2]
    failed = table([0.9] * 4, status="diverged")
    block = trend(Material(pd.concat([whole, seeds, short, failed])), {})
    (row,) = block["rows"]
    assert row["slope"] == pytest.approx(0.1)
    assert [one["runs"] for one in row["sizes"]] == [2] * 4
    assert block["warnings"] == ["2 runs of fewer tokens than others of their size are left out"]


def test_what_follows_from_shape_or_text_has_no_trend():
    known = {"quantised/int8_bytes": SIZES, "canaries/seen_x4": 4.0, "canaries/exposure_x4": SIZES}
    block = trend(Material(table([0.1, 0.2, 0.3, 0.4], **known)), {})
    assert {row["column"] for row in block["rows"]} == {"calibration/ece", "canaries/exposure_x4"}


def test_tokens_that_differ_by_size_are_told():
    block = trend(Material(table([0.1, 0.2, 0.3, 0.4], D=20 * SIZES)), {})
    assert "N and D together" in block["warnings"][0]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (table([0.1] * 4).drop(columns="calibration/ece"), "no column of a measure"),
        (table([0.1] * 4).iloc[:2], "needs 3 sizes"),
        (table([0.1] * 4).drop(columns="D"), "D"),
    ],
)
def test_what_has_no_trend_is_refused(frame, told):
    with pytest.raises(UserError, match=told):
        trend(Material(frame), {})


def test_sizes_that_were_all_trained_at_several_d_have_a_line_each():
    near = table([0.1, 0.2, 0.3, 0.4], D=[1e6, 1.004e6, 9.96e5, 1e6])
    block = trend(Material(pd.concat([near, table([0.5, 0.7, 0.9, 1.1], D=4e6)])), {})
    assert [row["tokens"] for row in block["rows"]] == pytest.approx([1e6, 4e6])
    assert [row["slope"] for row in block["rows"]] == pytest.approx([0.1, 0.2])
    assert block["warnings"] == []
    assert "at D = 4e+06" in sentences({"answer": "trend", **block})[1]
