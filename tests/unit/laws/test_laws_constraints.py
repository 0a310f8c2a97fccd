"""Fixed and tied parameters: the fit is the minimum of the reduced problem, found another way."""

import numpy as np
import pytest
from scipy.optimize import minimize

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate, make_problem
from scalelab.laws.shapes.constraints import Constraints

TRUE = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}


def rows(name: str = "chinchilla") -> tuple[registry.Form, np.ndarray, np.ndarray]:
    """A form, x (30, m) and noisy log losses (30,)."""
    form, random = registry.get(name), np.random.default_rng(5)
    x = np.exp(random.uniform(np.log(1e7), np.log(1e10), (30, len(form.columns))))
    params = {"N_c": 8.8e13, "alpha_N": 0.076, "D_c": 5.4e13, "alpha_D": 0.095} | TRUE
    loss = form.value(form.theta({p: params[p] for p in form.parameters})[None], np.log(x))[0]
    return form, x, np.log(loss) + random.normal(0, 0.01, 30)


def by_search(form, x, log_loss, natural, start) -> float:
    """Least sum of squares / 2 over the free numbers, from which `natural` makes parameters."""

    def squares(free: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            value = form.value(form.theta(natural(free))[None], np.log(x))[0]
            total = float(((log_loss - np.log(value)) ** 2).sum() / 2)
        return total if np.isfinite(total) else 1e9

    best = np.array(start, float)
    for _ in range(8):
        best = minimize(
            squares, best, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-16}
        ).x
    return squares(best)


CASES = {
    "E": (
        Constraints({"E": 1.6}),
        lambda f: dict(E=1.6, A=np.exp(f[0]), alpha=f[1], B=np.exp(f[2]), beta=f[3]),
        [6.0, 0.34, 6.0, 0.28],
    ),
    "no floor": (
        Constraints({"E": 0.0}),
        lambda f: dict(E=0.0, A=np.exp(f[0]), alpha=f[1], B=np.exp(f[2]), beta=f[3]),
        [4.0, 0.2, 4.0, 0.15],
    ),
    "A and beta": (
        Constraints({"A": 350.0, "beta": 0.3}),
        lambda f: dict(E=f[0], A=350.0, alpha=f[1], B=np.exp(f[2]), beta=0.3),
        [1.7, 0.34, 6.0],
    ),
    "alpha = beta": (
        Constraints({}, (("alpha", "beta"),)),
        lambda f: dict(E=f[0], A=np.exp(f[1]), alpha=f[2], B=np.exp(f[3]), beta=f[2]),
        [1.7, 6.0, 0.3, 6.0],
    ),
    "A = B, alpha = beta": (
        Constraints({}, (("A", "B"), ("alpha", "beta"))),
        lambda f: dict(E=f[0], A=np.exp(f[1]), alpha=f[2], B=np.exp(f[1]), beta=f[2]),
        [1.7, 6.0, 0.3],
    ),
    "B fixed, alpha = beta": (
        Constraints({"B": 500.0}, (("alpha", "beta"),)),
        lambda f: dict(E=f[0], A=np.exp(f[1]), alpha=f[2], B=500.0, beta=f[2]),
        [1.7, 6.0, 0.3],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_constrained_fit_is_the_minimum_of_the_reduced_problem(case):
    constraints, natural, start = CASES[case]
    form, x, log_loss = rows()
    best = estimate(form, x, log_loss, constraints=constraints)
    assert best.converged
    assert best.value == pytest.approx(by_search(form, x, log_loss, natural, start), rel=1e-7)
    assert len(best.theta) == len(start) and best.dof == 30 - len(start)
    for name, value in constraints.fixed.items():
        assert best.params[name] == pytest.approx(value, rel=1e-12)
    for first, second in constraints.tied:
        assert best.params[first] == pytest.approx(best.params[second], rel=1e-12)
    # The objective at the natural parameters is the one that the free coordinates report.
    predicted = form.value(form.theta(best.params)[None], np.log(x))[0]
    assert ((log_loss - np.log(predicted)) ** 2).sum() / 2 == pytest.approx(best.value, rel=1e-9)


def test_a_written_law_is_constrained_alike():
    form, x, log_loss = rows("kaplan")
    tied = estimate(form, x, log_loss, constraints=Constraints({}, (("alpha_N", "alpha_D"),)))
    natural = lambda f: dict(N_c=np.exp(f[0]), alpha_N=f[1], D_c=np.exp(f[2]), alpha_D=f[1])  # noqa: E731
    assert tied.value == pytest.approx(
        by_search(form, x, log_loss, natural, [32.0, 0.08, 31.6]), rel=1e-7
    )
    fixed = estimate(form, x, log_loss, constraints=Constraints({"N_c": 8.8e13, "D_c": 5.4e13}))
    natural = lambda f: dict(N_c=8.8e13, alpha_N=f[0], D_c=5.4e13, alpha_D=f[1])  # noqa: E731
    assert fixed.value == pytest.approx(
        by_search(form, x, log_loss, natural, [0.08, 0.09]), rel=1e-7
    )


def test_fixing_at_the_best_value_changes_nothing_and_elsewhere_it_costs():
    form, x, log_loss = rows()
    free = estimate(form, x, log_loss)
    for name, value in free.params.items():
        held = estimate(form, x, log_loss, constraints=Constraints({name: value}))
        assert held.value == pytest.approx(free.value, rel=1e-9)
        moved = estimate(form, x, log_loss, constraints=Constraints({name: 1.05 * value}))
        assert moved.value > free.value


@pytest.mark.parametrize("case", CASES)
def test_derivatives_over_the_free_coordinates_equal_finite_differences(case):
    form, x, log_loss = rows()
    problem, _, _ = make_problem(form, x, log_loss, None, None, CASES[case][0])
    theta = problem.form.starts(problem.u, np.exp(problem.y))[:3] + 0.01
    everyone = np.arange(len(theta))
    _, gradient, hessian = problem(theta, everyone)
    for place, step in enumerate(1e-6 * np.eye(theta.shape[1])):
        up, down = problem(theta + step, everyone), problem(theta - step, everyone)
        assert np.allclose(gradient[:, place], (up[0] - down[0]) / 2e-6, rtol=1e-6, atol=1e-6)
        assert np.allclose(hessian[:, place], (up[1] - down[1]) / 2e-6, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        (Constraints({"gamma": 1.0}), "no parameter 'gamma' to fix or tie: it has E, A, alpha"),
        (Constraints({}, (("alpha", "gamma"),)), "no parameter 'gamma'"),
        (Constraints({"beta": 0.3}, (("alpha", "beta"),)), "beta is fixed or tied twice"),
        (Constraints({"alpha": 0.3}, (("alpha", "beta"),)), "alpha, which is itself fixed"),
        (Constraints(dict(TRUE)), "every parameter of chinchilla is fixed"),
        (Constraints({"alpha": -0.1}), "alpha is fixed at -0.1: expected a number above 0"),
        (Constraints({"A": 0.0}), "A is fixed at 0.0: expected a number above 0"),
        (Constraints({"E": float("nan")}), "E is fixed at nan"),
        (Constraints({}, (("A", "alpha"),)), "no like quantities and cannot be tied"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(constraints, words):
    form, x, log_loss = rows()
    with pytest.raises(UserError, match=words):
        estimate(form, x, log_loss, constraints=constraints)


def test_an_exponent_that_may_be_negative_can_be_fixed_there():
    form = registry.get("broken_1")
    Constraints({"c1": -0.1}).check(form)
    with pytest.raises(UserError, match=r"f1 is fixed at -0\.1"):
        Constraints({"f1": -0.1}).check(form)
