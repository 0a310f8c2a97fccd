"""What Kaplan et al. 2020 (arXiv:2001.08361) say of their own fit of L(N, D).

Run: python -m pytest tests/oracles/test_oracle_kaplan.py
"""

import numpy as np
import pytest

from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate

# Table 2 of the paper.
TABLE_2 = {"N_c": 6.4e13, "alpha_N": 0.076, "D_c": 1.8e13, "alpha_D": 0.103}
FORM = registry.get("kaplan")


def loss(n: np.ndarray, d: np.ndarray, params: dict[str, float] | None = None) -> np.ndarray:
    u = np.log(np.column_stack(np.broadcast_arrays(n, d)))
    return FORM.value(FORM.theta(params or TABLE_2)[None], u)[0]


def test_without_limit_of_the_other_each_variable_alone_gives_a_power_law():
    n, d = np.geomspace(1e6, 1e11, 6), np.geomspace(1e8, 1e13, 6)
    assert loss(n, np.full(6, 1e60)) == pytest.approx((TABLE_2["N_c"] / n) ** 0.076, rel=1e-9)
    assert loss(np.full(6, 1e80), d) == pytest.approx((TABLE_2["D_c"] / d) ** 0.103, rel=1e-9)


def test_tokens_that_keep_overfitting_within_two_percent_are_those_of_equation_4_4():
    # Section 4.2: within 0.02 of the loss at infinite D needs D of about 5e3 N^0.74.
    for n in (1e8, 1e9, 1e10):
        needed = np.geomspace(1e8, 1e13, 100_001)
        excess = loss(np.full(len(needed), n), needed) / loss(np.array([n]), np.array([1e60])) - 1
        tokens = needed[int(np.argmax(excess <= 0.02))]
        assert tokens == pytest.approx(5e3 * n**0.74, rel=0.12)


def test_a_grid_of_runs_by_table_2_gives_the_table_back():
    n, d = np.meshgrid(np.geomspace(4e5, 7e8, 8), np.geomspace(2e7, 2e10, 7))
    x = np.column_stack([n.ravel(), d.ravel()])
    log_loss = np.log(loss(x[:, 0], x[:, 1]))
    assert estimate(FORM, x, log_loss).params == pytest.approx(TABLE_2, rel=1e-7)
    noisy = log_loss + np.random.default_rng(0).normal(0, 0.003, len(x))
    found = estimate(FORM, x, noisy)
    assert found.params["alpha_N"] == pytest.approx(0.076, rel=0.05)
    assert found.params["alpha_D"] == pytest.approx(0.103, rel=0.05)


def test_units_of_n_and_d_move_only_the_scales():
    random = np.random.default_rng(1)
    x = np.exp(random.uniform(np.log(1e6), np.log(1e9), (40, 2)))
    log_loss = np.log(loss(x[:, 0], x[:, 1])) + random.normal(0, 0.005, 40)
    first, second = (estimate(FORM, x * unit, log_loss) for unit in (1, np.array([1e-6, 1e-9])))
    assert second.value == pytest.approx(first.value, rel=1e-9)
    for name, unit in (("alpha_N", 1), ("alpha_D", 1), ("N_c", 1e-6), ("D_c", 1e-9)):
        assert second.params[name] == pytest.approx(first.params[name] * unit, rel=1e-5)
