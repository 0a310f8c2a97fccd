"""How costs grow with N: the slope of a line through logarithms, counted by size."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from scalelab.laws import fit_study
from scalelab.laws.growth import by_size, growth

SIZES = np.array([1e4, 3e4, 1e5, 3e5, 1e6])


def table(**columns) -> pd.DataFrame:
    """Five sizes on one thread; cost columns are exact powers of N unless given."""
    plain = {
        "N": SIZES,
        "D": 2.5e6,
        "seconds": 0.01 * SIZES**0.8,
        "C": 6 * SIZES * 2.5e6,
        "checkpoint_bytes": 4 * SIZES,
        "threads": 1,
        "precision": "bf16",
        "status": "ok",
    }
    return pd.DataFrame({**plain, **columns})


def block(runs: pd.DataFrame, column: str) -> dict:
    """The block of one cost."""
    (found,) = [item for item in growth(runs) if item["column"] == column]
    return found


def test_an_exact_power_is_found_with_its_range_and_no_error():
    found = block(table(), "seconds")
    assert found["exponent"] == pytest.approx(0.8, abs=1e-12)
    assert found["coefficient"] == pytest.approx(0.01)
    assert found["standard_error"] == pytest.approx(0, abs=1e-12)
    assert (found["N"], found["D"]) == ([1e4, 1e6], [2.5e6, 2.5e6])
    assert found["setting"] == {"threads": 1, "precision": "bf16"}
    assert (found["sizes"], found["runs"]) == (5, 5)


def test_slope_and_error_are_those_of_ordinary_least_squares():
    seconds = 0.01 * SIZES**0.8 * np.array([1.1, 0.9, 1.2, 0.85, 1.05])
    found = block(table(seconds=seconds), "seconds")
    known = linregress(np.log(SIZES), np.log(seconds))
    assert found["exponent"] == pytest.approx(known.slope)
    assert found["standard_error"] == pytest.approx(known.stderr)


def test_seeds_of_a_size_are_one_point_and_do_not_narrow_the_error():
    seconds = 0.01 * SIZES**0.8 * np.array([1.1, 0.9, 1.2, 0.85, 1.05])
    once = block(table(seconds=seconds), "seconds")
    twice = block(pd.concat([table(seconds=seconds)] * 2), "seconds")
    assert (twice["sizes"], twice["runs"]) == (5, 10)
    for name in ("exponent", "standard_error"):
        assert twice[name] == pytest.approx(once[name])


def test_a_size_stands_for_the_geometric_mean_of_its_runs():
    sizes, values = by_size([(3.0, 5.0), (2.0, 1.0), (2.0, 100.0)])
    assert sizes == [2.0, 3.0]
    assert values == pytest.approx([10.0, 5.0])


def test_rates_come_from_the_commonest_setting_and_what_the_model_decides_from_all():
    runs = table(threads=[1, 1, 1, 2, 2])
    runs.loc[3:, "seconds"] /= 1.7
    assert block(runs, "seconds")["N"] == [1e4, 1e5]
    assert block(runs, "seconds")["exponent"] == pytest.approx(0.8)
    for column in ("C", "checkpoint_bytes"):
        assert block(runs, column)["N"] == [1e4, 1e6]
        assert block(runs, column)["setting"] == {}
    assert growth(runs.iloc[::-1]) == growth(runs), "the order of rows decides nothing"


def test_failed_runs_and_what_was_not_measured_stay_out():
    runs = table(status=["ok", "ok", "ok", "ok", "diverged"], mfu=[None, 0.1, 0.2, np.nan, 0.4])
    runs.loc[0, "seconds"] = 0.0
    assert block(runs, "seconds")["N"] == [3e4, 3e5]
    assert [item["column"] for item in growth(runs)] == ["seconds", "C", "checkpoint_bytes"]


@pytest.mark.parametrize("columns", [["N"], ["seconds"], ["N", "seconds"]])
def test_a_table_with_few_columns_is_no_fault(columns):
    found = [item["column"] for item in growth(table()[columns])]
    assert found == (["seconds"] if columns == ["N", "seconds"] else [])


def test_two_sizes_have_no_exponent():
    assert growth(table()[:2]) == []


def test_the_laws_of_a_study_carry_it_as_strict_json():
    runs = table(loss_nats=1.8 + 60 * SIZES**-0.25, mfu=np.nan)
    laws = fit_study(runs, [{"law": "power_offset", "x": "N"}], "study")
    assert laws["growth"] == growth(runs)
    json.dumps(laws, allow_nan=False)
