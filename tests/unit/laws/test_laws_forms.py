"""Every registered law: derivatives, units, formulas, starts and bounds, by going through them."""

import numpy as np
import pytest

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimate import estimate, make_problem
from scalelab.laws.objective import Problem
from scalelab.laws.result import formula

NAMES = registry.discover()
RNG = np.random.default_rng(7)


def example(name: str) -> tuple[registry.Form, np.ndarray, np.ndarray, np.ndarray]:
    """A form, centred logs (12, m), log losses (12,) and thetas (3, P) inside the bounds."""
    form = registry.get(name)
    x = np.exp(RNG.uniform(np.log(1e5), np.log(1e8), (12, len(form.columns))))
    params = {p: {"E": 1.7, "A": 90.0, "B": 130.0}.get(p, 0.27) for p in form.parameters}
    loss = form.value(form.theta(params)[None], np.log(x))[0]
    problem, _, _ = make_problem(form, x, np.log(loss), None)
    theta = form.starts(problem.u, np.exp(problem.y))[:3] + 0.01
    return form, problem.u, problem.y + RNG.normal(0, 0.01, 12), theta


@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_curvature_of_a_form_equal_finite_differences(name):
    form, u, _, theta = example(name)
    weights = RNG.normal(size=(len(theta), len(u)))
    value, slopes = form.gradient(theta, u)
    assert np.allclose(value, form.value(theta, u), rtol=1e-14)
    curvature = form.curvature(theta, u, weights)
    for place in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[place] = 1e-6
        up, down = theta + step, theta - step
        assert np.allclose(
            slopes[..., place], (form.value(up, u) - form.value(down, u)) / 2e-6, atol=1e-7
        )
        change = (form.gradient(up, u)[1] - form.gradient(down, u)[1]) / 2e-6
        assert np.allclose(curvature[:, place], np.einsum("sn,snp->sp", weights, change), atol=1e-6)


@pytest.mark.parametrize("delta", [None, 0.02])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_hessian_of_the_objective_equal_finite_differences(name, delta):
    form, u, y, theta = example(name)
    problem = Problem(form, u, y, RNG.uniform(0.5, 2, len(y)), delta)
    rows = np.arange(len(theta))
    _, gradient, hessian = problem(theta, rows)
    for place in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[place] = 1e-6
        up, down = problem(theta + step, rows), problem(theta - step, rows)
        assert np.allclose(gradient[:, place], (up[0] - down[0]) / 2e-6, rtol=1e-5, atol=1e-7)
        assert np.allclose(hessian[:, place], (up[1] - down[1]) / 2e-6, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_the_way_to_internal_coordinates_and_back(name):
    form = registry.get(name)
    params = {p: 0.3 + 0.1 * place for place, p in enumerate(form.parameters)}
    theta = form.theta(params)
    found = registry.natural(form, theta, np.zeros(len(form.columns)), 0.0)
    assert found == pytest.approx(params, rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_exact_points_of_a_law_give_its_constants_back(name):
    form = registry.get(name)
    params = {
        p: {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}[p]
        for p in form.parameters
    }
    x = np.exp(RNG.uniform(np.log(1e6), np.log(1e9), (20, len(form.columns))))
    loss = form.value(form.theta(params)[None], np.log(x))[0]
    best = estimate(form, x, np.log(loss))
    assert best.converged
    assert best.params == pytest.approx(params, rel=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_each_law_says_its_formula_source_and_derived_quantities(name):
    form = registry.get(name)
    columns = tuple("PQ"[: len(form.columns)])
    for text in (formula(form, columns), formula(form, columns, latex=True)):
        assert all(column in text for column in columns)
        assert "{x" not in text
    assert any(year in form.source for year in ("2020", "2022"))
    lower, upper = form.bounds()
    assert lower.shape == upper.shape == (len(form.parameters),)
    for law in (*form.alternatives, *([form.fallback] if form.fallback else [])):
        assert registry.get(law).name == law


def test_derived_optimum_agrees_with_a_search_along_the_compute_line():
    form = registry.get("chinchilla")
    params = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    derived = form.derived(params)
    compute = 1e21
    sizes = np.geomspace(1e8, 1e11, 200_001)
    x = np.column_stack([sizes, compute / 6 / sizes])
    best = sizes[np.argmin(form.value(form.theta(params)[None], np.log(x))[0])]
    optimum = derived["G"] * (compute / 6) ** derived["N_opt_exponent"]
    assert best == pytest.approx(optimum, rel=1e-4)
    assert derived["N_opt_exponent"] + derived["D_opt_exponent"] == pytest.approx(1)


def test_an_unknown_law_is_refused_with_the_near_name():
    with pytest.raises(UserError, match="did you mean 'power_offset'"):
        registry.get("power_ofset")


def test_two_laws_of_one_name_are_a_programming_error():
    with pytest.raises(ValueError, match="two laws are called power"):
        registry.register(registry.get("power"))
