"""Jets: every rule of differentiation against finite differences, alone and in a formula."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scalelab.laws.registry import Functional
from scalelab.laws.shapes.jets import _BINARY, _UNARY, Jet, variables

RNG = np.random.default_rng(3)
THETA = RNG.uniform(0.3, 1.2, (4, 3))
DATA = RNG.uniform(0.5, 2.0, 5)
STEP = 1e-5


def parameters(theta: np.ndarray, slopes_only: bool = False) -> list[Jet]:
    """a = theta_0, b = exp(theta_1 + theta_0 / 2), c = 2 theta_2 + 0.3."""
    functionals = [
        Functional(np.array([1.0, 0.0, 0.0]), 0.0, False, -np.inf),
        Functional(np.array([0.5, 1.0, 0.0]), 0.0, True, 0.0),
        Functional(np.array([0.0, 0.0, 2.0]), 0.3, False, -np.inf),
    ]
    return variables(theta, functionals, slopes_only)


def numbers(theta: np.ndarray) -> list[np.ndarray]:
    return [one.value for one in parameters(theta)]


def agrees(function: Callable[..., Any]) -> None:
    """Value, slopes and bends of function(a, b, c) against central differences in theta."""
    jet = function(*parameters(THETA))
    value = np.asarray(function(*numbers(THETA)))
    assert np.allclose(jet.value, value, rtol=1e-14)
    shape = np.broadcast_shapes(jet.value.shape, (len(THETA), 1))
    slope = np.broadcast_to(jet.slope, (*shape, 3))
    bend = np.broadcast_to(jet.bend, (*shape, 3, 3))
    assert np.allclose(bend, bend.swapaxes(-1, -2), rtol=1e-13, atol=1e-13)
    for k in range(3):
        step = STEP * np.eye(3)[k]
        up, down = function(*numbers(THETA + step)), function(*numbers(THETA - step))
        assert np.allclose(slope[..., k], (up - down) / (2 * STEP), rtol=1e-6, atol=1e-8)
        above, below = (function(*parameters(THETA + s)).slope for s in (step, -step))
        change = np.broadcast_to((above - below) / (2 * STEP), (*shape, 3))
        assert np.allclose(bend[..., k], change, rtol=1e-6, atol=1e-8)
    first = function(*parameters(THETA, slopes_only=True))
    assert np.array_equal(first.slope, jet.slope) and np.array_equal(first.value, jet.value)


@pytest.mark.parametrize("ufunc", _UNARY, ids=lambda ufunc: ufunc.__name__)
def test_a_function_of_one_jet_equals_finite_differences(ufunc):
    agrees(lambda a, b, c: ufunc(b))
    agrees(lambda a, b, c: ufunc(a * b / c))


@pytest.mark.parametrize("ufunc", _BINARY, ids=lambda ufunc: ufunc.__name__)
def test_a_function_of_two_jets_or_a_jet_and_numbers_equals_finite_differences(ufunc):
    agrees(lambda a, b, c: ufunc(a, b))
    agrees(lambda a, b, c: ufunc(b * c, a * c))
    agrees(lambda a, b, c: ufunc(b, DATA))
    agrees(lambda a, b, c: ufunc(DATA, b))
    agrees(lambda a, b, c: ufunc(a, 2.0))
    agrees(lambda a, b, c: ufunc(2.0, a))


def test_operators_and_a_whole_formula_equal_finite_differences():
    agrees(lambda a, b, c: a + b * DATA**-c)
    agrees(lambda a, b, c: 1 - (3 - a) / (b - -c) + 2 / (DATA * a) ** 2)
    agrees(lambda a, b, c: np.log(np.expm1(a) + np.logaddexp(b, c * np.log(DATA))) ** 0.5)


def test_a_power_with_a_plain_exponent_takes_any_base():
    square = parameters(THETA)[0] - 5.0
    assert np.allclose((square**2).slope, 2 * square.value[..., None] * square.slope)
    assert np.allclose((square**2).bend[..., 0, 0], 2.0)


def test_at_a_tie_the_smaller_and_the_larger_have_the_derivatives_of_the_first():
    a, b, _ = parameters(np.array([[1.0, -0.5, 0.0]]))
    assert a.value == b.value
    assert np.array_equal(np.minimum(a, b).slope, a.slope)
    assert np.array_equal(np.maximum(b, a).slope, b.slope)


def test_a_jet_holds_derivatives_only_by_what_it_depends_on():
    a, b, c = parameters(THETA)
    assert (a.over, b.over, c.over, (a * c).over) == ((0,), (0, 1), (2,), (0, 2))
    assert (a * c).first.shape == (4, 1, 2) and (a * c).slope.shape == (4, 1, 3)


def test_a_function_without_a_rule_is_refused():
    a = parameters(THETA)[0]
    with pytest.raises(TypeError):
        np.sin(a)
    with pytest.raises(ValueError, match="first derivatives alone"):
        _ = parameters(THETA, slopes_only=True)[0].bend
