"""Every registered law: derivatives, units, formulas, starts and bounds, by going through them.

A law whose parameters have new names needs its constants in `CONSTANTS`; all else is automatic.
"""

import re

import numpy as np
import pytest

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate, noise_scales
from scalelab.laws.estimation.objective import Problem
from scalelab.laws.result import formula
from scalelab.laws.shapes.jets import Jet, variables
from scalelab.laws.uncertainty.profile import profile, standard_error
from scalelab.laws.uncertainty.springs import Target

NAMES = registry.discover()
COMMON = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
BREAKS = [
    {"c1": 0.3, "d1": 2e5, "f1": 0.4},
    {"c2": -0.3, "d2": 8e6, "f2": 0.3},
    {"c3": 0.3, "d3": 3e8, "f3": 0.5},
]
CONSTANTS = {
    "kaplan": {"N_c": 8.8e13, "alpha_N": 0.076, "D_c": 5.4e13, "alpha_D": 0.095},
    "data_constrained": COMMON | {"R_D": 15.4, "R_N": 5.3},
    "compute_frontier": {"E": 1.69, "A": 500.0, "alpha": 0.15},
    "downstream": {"epsilon": 0.85, "k": 2.2, "gamma": 0.7},
    "broken_1": {"a": 1.0, "b": 30.0, "c0": 0.1} | BREAKS[0],
    "broken_2": {"a": 1.0, "b": 30.0, "c0": 0.1} | BREAKS[0] | BREAKS[1],
    "broken_3": {"a": 1.0, "b": 30.0, "c0": 0.1} | BREAKS[0] | BREAKS[1] | BREAKS[2],
}
RANGES = {"D": (1e8, 1e11), "C": (1e17, 1e22), "loss_nats": (2.2, 4.5)}


def constants(name: str) -> dict[str, float]:
    """Natural parameters near those of the paper."""
    return CONSTANTS.get(name) or {p: COMMON[p] for p in registry.get(name).parameters}


def spread_x(name: str, count: int = 60, seed: int = 7) -> np.ndarray:
    """x (count, m) between the ends of RANGES on a log scale; U is D over 1 to 100 epochs."""
    random = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for column in registry.get(name).columns:
        low, high = RANGES.get(column, (1e4, 1e10))
        columns[column] = np.exp(random.uniform(np.log(low), np.log(high), count))
    if "U" in columns:
        columns["U"] = columns["D"] / np.exp(random.uniform(0, np.log(100), count))
    return np.column_stack(list(columns.values()))


def exact(name: str, count: int = 60) -> tuple[registry.Form, np.ndarray, np.ndarray]:
    """A form, x (count, m), and the losses (count,) of its constants there."""
    form, x = registry.get(name), spread_x(name, count)
    return form, x, form.value(form.theta(constants(name))[None], np.log(x))[0]


def near(name: str) -> tuple[registry.Form, np.ndarray, np.ndarray]:
    """A form, logs of x (12, m) and thetas (3, P) around its constants."""
    form, x, _ = exact(name, 12)
    random = np.random.default_rng(11)
    theta = form.theta(constants(name)) * random.uniform(0.97, 1.03, (3, len(form.parameters)))
    lower, upper = form.bounds(np.log(spread_x(name)))
    assert (theta > lower).all() and (theta < upper).all()
    return form, np.log(x), theta


def steps(theta: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(place, theta above, theta below) for central differences with step 1e-6."""
    size = 1e-6 * np.eye(theta.shape[1])
    return [(k, theta + size[k], theta - size[k]) for k in range(theta.shape[1])]


def close(found: np.ndarray, expected: np.ndarray, error: float) -> bool:
    """Equal up to `error` of the largest entry."""
    return bool(np.abs(found - expected).max() <= error * np.abs(expected).max() + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_curvature_of_a_form_equal_finite_differences(name):
    form, u, theta = near(name)
    weights = np.random.default_rng(5).normal(size=(len(theta), len(u)))
    value, slopes = form.gradient(theta, u)
    assert np.allclose(value, form.value(theta, u), rtol=1e-13)
    curvature = form.curvature(theta, u, weights)
    for place, up, down in steps(theta):
        change = (form.value(up, u) - form.value(down, u)) / 2e-6
        assert close(slopes[..., place], change, 1e-6)
        change = (form.gradient(up, u)[1] - form.gradient(down, u)[1]) / 2e-6
        assert close(curvature[:, place], np.einsum("sn,snp->sp", weights, change), 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_at_points_of_their_own_for_each_theta_are_those_of_each_alone(name):
    form, u, theta = near(name)
    own = np.stack([u[:5], u[3:8], u[7:]])
    weights = np.ones((3, 5))
    loss, slopes = form.gradient(theta, own)
    curvature = form.curvature(theta, own, weights)
    for row in range(3):
        alone = form.gradient(theta[[row]], own[row])
        assert np.allclose(loss[row], alone[0][0]) and np.allclose(slopes[row], alone[1][0])
        assert np.allclose(
            curvature[row], form.curvature(theta[[row]], own[row], weights[[row]])[0]
        )


@pytest.mark.parametrize("delta", [None, 0.02])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_and_hessian_of_the_objective_equal_finite_differences(name, delta):
    form, u, theta = near(name)
    random = np.random.default_rng(3)
    y = np.log(form.value(theta[:1], u)[0]) + random.normal(0, 0.03, len(u))
    problem = Problem(form, u, y, random.uniform(0.5, 2, len(y)), delta)
    rows = np.arange(len(theta))
    _, gradient, hessian = problem(theta, rows)
    for place, up, down in steps(theta):
        above, below = problem(up, rows), problem(down, rows)
        assert close(gradient[:, place], (above[0] - below[0]) / 2e-6, 1e-5)
        assert close(hessian[:, place], (above[1] - below[1]) / 2e-6, 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_the_way_to_internal_coordinates_and_back(name):
    form, params = registry.get(name), constants(name)
    found = registry.natural(form, form.theta(params), np.zeros(len(form.columns)), 0.0)
    assert found == pytest.approx(params, rel=1e-13)
    assert tuple(found) == form.parameters


@pytest.mark.parametrize("name", NAMES)
def test_starts_lie_within_the_bounds_and_give_a_finite_loss(name):
    form, x, loss = exact(name)
    u = np.log(x) - (np.log(x).mean(0) if form.centred else 0)
    lower, upper = form.bounds(u)
    assert lower.shape == upper.shape == (len(form.parameters),) and (lower < upper).all()
    starts = form.starts(u, loss)
    assert len(starts) > 5 and np.isfinite(starts).all()
    assert (starts >= lower).all() and (starts <= upper).all()
    assert np.isfinite(np.log(form.value(starts, u))).all()


@pytest.mark.parametrize("name", NAMES)
def test_exact_points_of_a_law_give_its_constants_back(name):
    form, x, loss = exact(name)
    best = estimate(form, x, np.log(loss))
    assert best.converged
    assert best.params == pytest.approx(constants(name), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_noisy_points_of_a_law_give_intervals_that_hold_its_constants(name):
    form, x, loss = exact(name)
    noise = np.random.default_rng(2).normal(0, 0.002, len(loss))
    best = estimate(form, x, np.log(loss) + noise)
    assert best.converged and best.sigma == pytest.approx(0.002, rel=0.3)
    functionals = [best.functional(p) for p in form.parameters]
    ends = profile(best, [Target(functional=one) for one in functionals], 0.99)
    for one, (low, high), value in zip(functionals, ends, constants(name).values(), strict=True):
        assert low <= (np.log(value) if one.exponentiate else value) <= high


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("broken_")])
def test_each_standard_error_is_that_of_its_own_coefficient(name):
    """Case F20: from slopes by natural parameters alone, which know of no coordinates."""
    form, x, losses = exact(name)
    log_loss = np.log(losses) + np.random.default_rng(3).normal(0, 1e-3, len(x))
    best = estimate(form, x, log_loss)

    def at(parameter: str, factor: float) -> np.ndarray:
        params = best.params | {parameter: best.params[parameter] * factor}
        return np.log(form.value(form.theta(params)[None], np.log(x))[0])

    slopes = [(at(p, 1 + 1e-6) - at(p, 1 - 1e-6)) / 2e-6 for p in form.parameters]
    inverse = np.linalg.pinv(np.array(slopes) @ np.array(slopes).T, rcond=1e-14)
    relative = np.sqrt(noise_scales(best)[0] * np.diag(inverse))
    for p, expected in zip(form.parameters, relative, strict=True):
        found = standard_error(best, best.functional(p)) / abs(best.params[p])
        assert found == pytest.approx(expected, rel=1e-2), p


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_unit_of_x_nor_the_order_of_points_moves_the_fit(name):
    form, x, loss = exact(name, 40)
    if name == "downstream":
        pytest.skip("the loss of a text has one unit")
    log_loss = np.log(loss) + np.random.default_rng(4).normal(0, 0.002, len(loss))
    first = estimate(form, x, log_loss)
    second = estimate(form, 1e-3 * x[::-1], log_loss[::-1])
    assert second.value == pytest.approx(first.value, rel=1e-9)
    exponents = [p for p in form.parameters if re.fullmatch(r"(alpha|beta|c\d|alpha_.)", p)]
    assert exponents
    for exponent in exponents:
        assert second.params[exponent] == pytest.approx(first.params[exponent], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_law_says_its_formula_source_and_what_it_is_compared_with(name):
    form = registry.get(name)
    columns = tuple("PQS"[: len(form.columns)])
    for text in (formula(form, columns), formula(form, columns, latex=True)):
        assert all(column in text for column in columns)
        assert "{x" not in text and text.count("{") == text.count("}")
    assert re.search(r"et al\. 20\d\d \(arXiv:\d{4}\.\d{5}\)", form.source)
    assert form.offset is None or form.offset in form.parameters
    for law in (*form.alternatives, *([form.fallback] if form.fallback else [])):
        assert registry.get(law).name == law and law != name


@pytest.mark.parametrize("name", NAMES)
def test_derived_quantities_are_numbers_and_have_derivatives(name):
    form, params = registry.get(name), constants(name)
    nowhere = np.zeros(len(form.columns))
    functionals = [form.functional(p, nowhere, 0.0) for p in form.parameters]
    jets = variables(form.theta(params)[None], functionals)
    values = form.derived(params)
    found = form.derived(dict(zip(form.parameters, jets, strict=True)))
    assert found.keys() == values.keys()
    for key, jet in found.items():
        assert isinstance(jet, Jet) and jet.value[0, 0] == pytest.approx(values[key], rel=1e-12)
        assert np.isfinite(jet.slope).all() and np.isfinite(jet.bend).all()


@pytest.mark.parametrize("name", ["chinchilla", "kaplan"])
def test_derived_optimum_agrees_with_a_search_along_the_compute_line(name):
    form, params = registry.get(name), constants(name)
    derived = form.derived(params)
    compute = 1e21
    sizes = np.geomspace(1e8, 1e12, 200_001)
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
