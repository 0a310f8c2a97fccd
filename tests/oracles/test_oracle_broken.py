"""Broken power laws of Caballero et al. 2022 (arXiv:2210.14891), with the constants they print.

Run: python -m pytest tests/oracles/test_oracle_broken.py
"""

import numpy as np
import pytest

from scalelab import laws
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate

# Four-digit addition (figure 4): loss against training examples, and the constants behind the
# noiseless curve of the same figure, both from the authors' repository.
EXAMPLES = [160, 192, 256, 320, 384, 448, 480, 512, 544, 576, 608, 640, 672, 736, 800, 864, 928]
LOSSES = [
    *(2.13809046, 2.11813418, 2.08955508, 2.06988398, 2.05404987, 2.03837089, 2.02814281),
    *(2.00496872, 1.95576149, 1.86313841, 1.70891537, 1.50637664, 1.29754721, 0.96559684),
    *(0.75856477, 0.64768338, 0.55695445),
]
FIGURE_4 = {
    "a": 0.41388453071629455,
    "b": 2.2772722897737556,
    "c0": 0.055077348404973955,
    "c1": 5.662903816010331,
    "d1": 612.5836172918001,
    "f1": 0.059193036393742314,
}
FIGURE_1 = {
    **{"a": 1e-3, "b": 4.66e3, "c0": 0.05},
    **{"c1": 0.49, "d1": 3e6, "f1": 1.1},
    **{"c2": -0.811, "d2": 1e14, "f2": 1.425},
    **{"c3": 2.1, "d3": 2e20, "f3": 0.05},
}


def curve(name: str, params: dict[str, float], x: np.ndarray) -> np.ndarray:
    form = registry.get(name)
    return form.value(form.theta(params)[None], np.log(x)[:, None])[0]


def plain(params: dict[str, float], x: np.ndarray) -> np.ndarray:
    """Equation 1 as it stands."""
    y = params["b"] * x ** -params["c0"]
    for i in range(1, (len(params) - 3) // 3 + 1):
        c, d, f = (params[f"{letter}{i}"] for letter in "cdf")
        y = y * (1 + (x / d) ** (1 / f)) ** (-c * f)
    return params["a"] + y


def test_the_law_is_equation_1():
    x = np.geomspace(1, 5e3, 200)
    assert curve("broken_1", FIGURE_4, x) == pytest.approx(plain(FIGURE_4, x), rel=1e-12)
    x = np.geomspace(0.1, 1e26, 200)
    assert curve("broken_3", FIGURE_1, x) == pytest.approx(plain(FIGURE_1, x), rel=1e-9)


def test_the_noiseless_curve_of_figure_4_gives_its_constants_back():
    x = np.arange(1.0, 4096.0, 16)
    best = estimate(registry.get("broken_1"), x[:, None], np.log(plain(FIGURE_4, x)))
    assert best.converged
    assert best.params == pytest.approx(FIGURE_4, rel=1e-6)


def test_the_curve_of_figure_1_with_three_breaks_gives_its_constants_back():
    x = np.geomspace(0.1, 1e26, 120)
    best = estimate(registry.get("broken_3"), x[:, None], np.log(plain(FIGURE_1, x)))
    assert best.converged
    assert best.params == pytest.approx(FIGURE_1, rel=1e-5)


def test_the_measured_points_of_figure_4_are_fitted_at_least_as_well():
    x, log_loss = np.array(EXAMPLES, float), np.log(LOSSES)
    theirs = ((log_loss - np.log(plain(FIGURE_4, x))) ** 2).sum() / 2
    best = estimate(registry.get("broken_1"), x[:, None], log_loss)
    assert best.converged and best.value <= theirs
    assert best.params["d1"] == pytest.approx(FIGURE_4["d1"], rel=0.05)
    assert best.params["c1"] == pytest.approx(FIGURE_4["c1"], rel=0.25)


def test_a_curve_with_one_exponent_and_one_with_a_break_are_told_apart():
    import pandas as pd

    rows = pd.DataFrame({"N": EXAMPLES, "loss_nats": LOSSES})
    block = laws.fit("broken_1", rows).to_json()
    (rival,) = [row for row in block["alternatives"] if row["law"] == "power_offset"]
    assert block["aicc"] < rival["aicc"] - 20

    sizes = np.geomspace(1e5, 1e9, 17)
    noise = np.random.default_rng(1).normal(0, 0.003, 17)
    rows = pd.DataFrame({"N": sizes, "loss_nats": (1.7 + 90 * sizes**-0.3) * np.exp(noise)})
    block = laws.fit("broken_1", rows).to_json()
    (rival,) = [row for row in block["alternatives"] if row["law"] == "power_offset"]
    assert rival["aicc"] < block["aicc"]
