"""Allocations that papers print, and the exponent on the points of Hoffmann et al. 2022.

The last needs `../shared/reference/chinchilla_epoch` beside the repository; skipped where it is
absent. Run: python -m pytest tests/oracles/test_oracle_allocation.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from scalelab import laws
from scalelab.laws import published
from scalelab.laws.allocation.allocate import allocate

POINTS = Path(__file__).parents[3] / "shared/reference/chinchilla_epoch/svg_extracted_data.csv"


@pytest.mark.parametrize("name", ["hoffmann2022", "hoffmann2022-unrounded", "besiroglu2024"])
def test_the_optimum_at_1e21_flops_is_that_of_direct_minimisation(name):
    p = published.get(name).params

    def loss(log_n):
        n = np.exp(log_n)
        return p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * (1e21 / 6 / n) ** -p["beta"]

    best = minimize_scalar(loss, bounds=(17, 25), method="bounded", options={"xatol": 1e-12})
    found = allocate(published.get(name), 1e21)
    assert found.n == pytest.approx(np.exp(best.x), rel=1e-6)
    assert found.loss == pytest.approx(best.fun, rel=1e-13)


def test_the_printed_law_trains_two_billion_parameters_at_1e21():
    found = allocate(published.get("hoffmann2022"), 1e21)
    assert found.n == pytest.approx(1.8242e9, rel=1e-4)
    assert found.d == pytest.approx(9.1363e10, rel=1e-4)
    assert found.loss == pytest.approx(2.32888, abs=1e-5)


def test_unrounded_constants_give_the_projections_of_hoffmann():
    """Their approach 3: 40e9 parameters at Gopher's 5.76e23 FLOPs (figure 4)."""
    found = allocate(published.get("hoffmann2022-unrounded"), 5.76e23)
    assert found.n == pytest.approx(40e9, rel=0.02)


def test_two_trillion_tokens_of_inference_make_seven_billion_of_thirteen():
    """Sardana et al. 2023, figure 1: the quality of a compute-optimal 13e9 model, 2e12 tokens of
    inference: 7e9 parameters, 17% or 1.7e22 FLOPs less (from these constants 16.3% and 1.63e22).
    """
    law = published.get("hoffmann2022-unrounded")
    p = law.params
    ratio = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    flops = 6 * (13e9 / ratio) ** ((p["alpha"] + p["beta"]) / p["beta"])
    plain = allocate(law, flops)
    assert plain.n == pytest.approx(13e9, rel=1e-9)
    served = allocate(law, loss=plain.loss, inference_tokens=2e12)
    saved = flops + 2 * 13e9 * 2e12 - served.flops
    assert served.n == pytest.approx(7e9, rel=0.03)
    assert saved == pytest.approx(1.7e22, abs=0.1e22)
    assert saved / (flops + 2 * 13e9 * 2e12) == pytest.approx(0.17, abs=0.01)


@pytest.mark.skipif(not POINTS.exists(), reason=f"no reference data at {POINTS}")
def test_the_exponent_on_the_points_of_hoffmann():
    raw = pd.read_csv(POINTS)
    rows = pd.DataFrame({"N": raw["Model Size"], "loss_nats": raw["loss"]})
    rows["D"] = raw["Training FLOP"] / 6 / rows["N"]
    rows = rows[rows["loss_nats"] < rows["loss_nats"].nlargest(5).iloc[-1]]
    assert len(rows) == 240
    fit = laws.fit("chinchilla", rows, objective="huber", delta=1e-3, intervals="bootstrap")
    found = allocate(fit, 1e21)
    share, low, high = found.exponents["N"]
    print(f"a = {share:.4f} [{low:.4f}, {high:.4f}], N = {found.intervals['N']}")
    assert share == pytest.approx(0.514, abs=1e-3)
    # Besiroglu et al. 2024: standard error 0.02 by bootstrap.
    assert low == pytest.approx(0.48, abs=0.02) and high == pytest.approx(0.56, abs=0.03)
    assert found.intervals["N"][0] < found.n < found.intervals["N"][1]
