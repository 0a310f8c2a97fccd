"""Ticks and numbers: round, few enough, with the digits that their interval warrants."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.figures import numbers, style


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.21234, 0.2051, 0.2190, "0.2123 [0.2051, 0.2190]"),
        (1.5012, 1.34, 1.66, "1.50 [1.34, 1.66]"),
        (632.4, 117.2, 3421.0, "632 [117, 3421]"),
        (0.0, 0.0, 0.1, "0.00 [0.00, 0.10]"),
        (2.5, None, None, "2.500"),
        (1.5, None, 1.7, "1.50 [?, 1.70]"),
        (3.2e9, 1.1e9, 8e9, "3.2e+09 [1.1e+09, 8e+09]"),
    ],
)
def test_a_value_has_the_digits_of_its_interval(value, low, high, text):
    assert numbers.with_interval(value, low, high) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(999, "999"), (999_999, "1M"), (19_307, "19.3k"), (1.05e6, "1.05M"), (7e10, "70B")],
)
def test_short_counts(value, text):
    assert numbers.short(value) == text


@pytest.mark.parametrize(
    ("formula", "x", "expected"),
    [
        ("L = E + A N^-alpha", "N", r"L = E + A\,N^{-\alpha}"),
        ("L = A x^-alpha", "C", r"L = A\,C^{-\alpha}"),
        ("L = E + A N^-alpha", "N_total", r"L = E + A\,N_\mathrm{total}^{-\alpha}"),
    ],
)
def test_formula_becomes_mathematics_that_matplotlib_can_set(formula, x, expected):
    text = numbers.formula({"law": "l", "formula": formula, "x": x})
    assert text == expected
    assert style.safe_math(text, "plain") == f"${expected}$"


def test_a_formula_that_is_no_mathematics_is_shown_as_text():
    assert style.safe_math(r"L = \frac{", "L = 5$ a{") == r"L = 5\$ a{"


@given(st.floats(0.01, 100), st.floats(1.02, 1000))
def test_ticks_are_inside_increasing_and_do_not_crowd(low, ratio):
    high = low * ratio
    ticks = style.spread_ticks(low, high, gap=0.1)
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    gaps = [math.log(b / a) / math.log(ratio) for a, b in itertools.pairwise(ticks)]
    assert all(gap >= 0.1 - 1e-9 for gap in gaps)
    assert len(ticks) >= 2
    assert all(len(f"{tick:g}") <= 7 for tick in ticks), ticks


def test_loss_ticks_are_plain_round_numbers():
    assert style.spread_ticks(2.3, 4.2, gap=0.08) == [2.5, 3, 3.5, 4]


def test_powers_of_ten():
    assert style.power_text(1e5) == "10⁵"
    assert style.power_text(2e-15) == "2×10⁻¹⁵"
