"""The batched Newton solver on functions with known minima, and the objective it is given."""

import dataclasses

import numpy as np
import pytest

from scalelab.laws import registry
from scalelab.laws.estimation import objective
from scalelab.laws.estimation.estimate import estimate, make_problem, natural
from scalelab.laws.estimation.objective import Problem
from scalelab.laws.estimation.solver import minimise

FREE = (np.full(2, -np.inf), np.full(2, np.inf))


def draws(low, high, count):
    """Uniform starting points (count, 2)."""
    return np.random.default_rng(11).uniform(low, high, (count, 2))


def rosenbrock(theta, rows):
    """(1 - x)^2 + 100 (y - x^2)^2: a curved valley with its minimum, 0, at (1, 1)."""
    x, y = theta.T
    off = y - x**2
    gradient = np.stack([-2 * (1 - x) - 400 * x * off, 200 * off], 1)
    cross = -400 * x
    hessian = np.stack([2 - 400 * off + 800 * x**2, cross, cross, np.full(len(x), 200.0)], 1)
    return (1 - x) ** 2 + 100 * off**2, gradient, hessian.reshape(-1, 2, 2)


def wells(theta, rows):
    """x^4 - x^2 + y^2 + 1: a saddle at 0, minima 3/4 at x = +-1/sqrt(2)."""
    x, y = theta.T
    hessian = np.zeros((len(x), 2, 2))
    hessian[:, 0, 0], hessian[:, 1, 1] = 12 * x**2 - 2, 2.0
    return x**4 - x**2 + y**2 + 1, np.stack([4 * x**3 - 2 * x, 2 * y], 1), hessian


def bowls(theta, rows):
    """A quadratic each, with its minimum, 1, at (-1, row); its axes are tilted."""
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    off = theta - np.stack([np.full(len(rows), -1.0), rows.astype(float)], 1)
    gradient = off @ matrix
    return 1 + (off * gradient).sum(1) / 2, gradient, np.repeat(matrix[None], len(rows), 0)


def test_a_curved_valley_is_followed_to_its_end():
    found = minimise(rosenbrock, draws(-2, 2, 200), *FREE)
    assert found.converged.all() and found.gradient_norm.max() < 1e-6
    assert np.allclose(found.theta, 1, atol=1e-9)


def test_a_saddle_is_left_for_a_minimum():
    found = minimise(wells, draws(-0.4, 0.4, 200), *FREE)
    assert found.converged.all()
    assert np.allclose(np.abs(found.theta), [0.5**0.5, 0], atol=1e-9)


def test_a_quadratic_takes_one_step():
    start = np.stack([np.full(4, -0.5), np.arange(4) - 0.5], 1)
    found = minimise(bowls, start, *FREE)
    # The second iteration finds nothing left to do.
    assert found.iterations == 2 and found.converged.all()
    assert np.allclose(found.theta[:, 1], np.arange(4), atol=1e-12)


def test_a_bound_holds_and_its_gradient_does_not_count():
    start = np.zeros((4, 2))
    bounded = minimise(bowls, start, np.zeros(2), np.array([np.inf, 2.5]))
    # On x = 0 the minimum over y is row - 1/3.
    expected = np.clip(np.arange(4) - 1 / 3, 0, 2.5)
    assert bounded.converged.all() and bounded.gradient_norm.max() < 1e-9
    assert np.allclose(bounded.theta, np.stack([np.zeros(4), expected], 1), atol=1e-12)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_a_constant_factor_changes_no_step(factor):
    start = draws(-2, 2, 50)
    plain = minimise(wells, start, *FREE)
    scaled = minimise(lambda t, r: tuple(factor * part for part in wells(t, r)), start, *FREE)
    assert scaled.iterations == plain.iterations
    assert np.allclose(scaled.theta, plain.theta, rtol=1e-12, atol=1e-12)


def test_an_entry_goes_the_same_way_alone_and_in_company():
    start = draws(-2, 2, 20)
    together = minimise(rosenbrock, start, *FREE)
    for place in range(len(start)):
        alone = minimise(rosenbrock, start[place : place + 1], *FREE)
        assert np.allclose(alone.theta[0], together.theta[place], rtol=1e-13)
        assert alone.iterations <= together.iterations


def test_an_entry_without_a_finite_objective_stays_and_is_not_converged():
    def partly(theta, rows):
        value, gradient, hessian = bowls(theta, rows)
        return np.where(rows == 1, np.inf, value), gradient, hessian

    found = minimise(partly, np.zeros((3, 2)), *FREE)
    assert list(found.converged) == [True, False, True]
    assert np.isinf(found.value[1])


def case(delta: float | None, law: str = "chinchilla") -> tuple[Problem, np.ndarray]:
    """A problem of 30 noisy points with uneven weights, and its starts."""
    form, generator = registry.get(law), np.random.default_rng(11)
    x = np.exp(generator.uniform(np.log(1e6), np.log(1e9), (30, len(form.columns))))
    params = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    theta = form.theta({name: params[name] for name in form.parameters})
    log_loss = np.log(form.value(theta[None], np.log(x))[0]) + generator.normal(0, 0.01, 30)
    problem, _, _ = make_problem(form, x, log_loss, delta, generator.uniform(0.5, 2, 30))
    return problem, form.starts(problem.u, np.exp(problem.y))


@pytest.mark.parametrize("delta", [None, 1e-3])
def test_how_a_batch_is_cut_into_blocks_changes_nothing(delta, monkeypatch):
    problem, starts = case(delta)
    rows = np.arange(len(starts))
    whole = problem(starts, rows)
    monkeypatch.setattr(objective, "BLOCK", 1000)
    for once, cut in zip(whole, problem(starts, rows), strict=True):
        assert np.allclose(once, cut, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("delta", [None, 1e-3])
def test_the_rough_hessian_is_positive_and_nothing_else_differs(delta):
    problem, starts = case(delta)
    rows = np.arange(len(starts))
    value, gradient, hessian = problem(starts, rows)
    rough = dataclasses.replace(problem, rough=True)(starts, rows)
    assert np.array_equal(rough[0], value) and np.array_equal(rough[1], gradient)
    lowest = np.linalg.eigvalsh(rough[2])[:, 0]
    assert (lowest > -1e-12 * np.trace(rough[2], axis1=1, axis2=2)).all()
    assert (np.linalg.eigvalsh(hessian)[:, 0] < 0).any()


def test_narrow_huber_from_afar_ends_where_the_rough_hessian_led():
    problem, starts = case(1e-3)
    bounds = problem.form.bounds(problem.u)
    near = minimise(dataclasses.replace(problem, rough=True), starts, *bounds, done=1e-3)
    found = minimise(problem, near.theta, *bounds)
    best = found.value.min()
    assert found.converged.mean() > 0.9
    assert (found.value < best * (1 + 1e-8)).mean() > 0.9
    direct = minimise(problem, starts, *bounds)
    assert best <= direct.value.min() * (1 + 1e-12)


@pytest.mark.parametrize("law", ["power", "power_offset", "chinchilla"])
def test_a_form_without_expand_gives_the_same_objective(law):
    class Plain:
        """The same law by `gradient` and `curvature` alone."""

        def __init__(self, form):
            self.gradient, self.curvature = form.gradient, form.curvature

    problem, starts = case(0.01, law)
    rows = np.arange(len(starts))
    plain = dataclasses.replace(problem, form=Plain(problem.form))
    for mine, its in zip(problem(starts, rows), plain(starts, rows), strict=True):
        assert np.allclose(mine, its, rtol=1e-13, atol=1e-13)


def test_a_law_is_found_where_nearly_all_of_the_loss_is_its_floor():
    """A curved valley, 1e10 times as steep one way as the other; the answer is by a fine grid.

    For a given exponent E and A are linear, up to the difference between a residual of the log and
    a relative one, which is 1e-8 here.
    """
    x = np.array([1, 1.4, 2, 2.8, 4, 5.6, 8])
    wobble = 1e-4 * np.array([0.3, -0.5, 0.9, -1.2, 0.1, 0.8, -0.4])
    loss = (1.1413 + 0.0043 * x**-0.55) * np.exp(wobble)

    def fitted(alpha):
        basis = np.stack([np.ones(7), x**-alpha], 1) / loss[:, None]
        linear, (rest,), *_ = np.linalg.lstsq(basis, np.ones(7))
        return rest, alpha, *linear

    _, alpha, floor, coefficient = min(fitted(alpha) for alpha in np.linspace(0.2, 1.2, 2001))
    best = estimate(registry.get("power_offset"), 1e6 * x[:, None], np.log(loss))
    assert best.converged
    values = natural(best.form, best.theta, best.centre, best.log_scale)
    assert values["alpha"] == pytest.approx(alpha, abs=2e-3)
    assert values["E"] == pytest.approx(floor, abs=2e-6)
    assert values["A"] * 1e6 ** -values["alpha"] == pytest.approx(coefficient, rel=1e-3)
