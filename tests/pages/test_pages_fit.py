"""The fit in the page gives the constants of `scalelab fit`, for all points and for some."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from scalelab.laws import fit, published
from scalelab.laws.result import FitResult
from scalelab.report.explore import form_of

pytestmark = pytest.mark.slow
WEB = Path(__file__).resolve().parents[2] / "scalelab" / "report" / "web"


@pytest.fixture(scope="module")
def engine(chromium: Browser) -> Page:
    """An empty page with the fit's code."""
    page = chromium.new_page()
    page.set_content("<p>fit</p>")
    page.add_script_tag(path=WEB / "fit.js")
    return page


def fitted(engine: Page, result: FitResult, keep: slice = slice(None)) -> dict[str, Any]:
    """The page's fit of those points of a result."""
    weights = result.points.weights
    points = [
        {
            "x": dict(zip(result.columns, map(float, x), strict=True)),
            "y": float(np.exp(y)),
            "weight": 1.0 if weights is None else float(weights[place]),
        }
        for place, (x, y) in enumerate(zip(result.points.x, result.points.log_loss, strict=True))
    ]
    form = form_of(result.law, list(result.columns))
    words = [form, points[keep], result.block["delta"]]
    return engine.evaluate("([form, points, delta]) => fitLaw(form, points, delta, null)", words)


def ladder(noise: float, seed: int = 3, size: int = 9, floor: float = 1.7) -> pd.DataFrame:
    """Sizes over two decades along a law with noise."""
    n = np.geomspace(1e4, 2e6, size).round()
    away = np.exp(noise * np.random.default_rng(seed).standard_normal(size))
    return pd.DataFrame({"N": n, "D": 20 * n, "loss_nats": (floor + 20 * n**-0.24) * away})


def square(noise: float) -> pd.DataFrame:
    """Sizes times tokens along Chinchilla's law with noise."""
    n, d = (
        part.ravel() for part in np.meshgrid(np.geomspace(1e4, 1e6, 5), np.geomspace(4e5, 4e7, 5))
    )
    away = np.exp(noise * np.random.default_rng(5).standard_normal(len(n)))
    loss = (1.7 + 26 * n**-0.28 + 90 * d**-0.33) * away
    return pd.DataFrame({"N": n, "D": d, "loss_nats": loss})


NOISY = ladder(0.004).assign(se=np.linspace(0.002, 0.02, 9))
CASES = {
    "offset": ("power_offset", ladder(0.003), {}),
    "offset, vague": ("power_offset", ladder(0.02, seed=8), {}),
    "floor at its bound": ("power_offset", ladder(0.01, floor=0.0), {}),
    "power": ("power", ladder(0.003), {}),
    "weights": ("power_offset", NOISY, {"noise": "se"}),
    "huber": ("power_offset", ladder(0.006), {"objective": "huber"}),
    "narrow huber": ("power_offset", ladder(0.004), {"delta": 1e-3}),
    "two columns": ("chinchilla", square(0.003), {}),
    "two columns, narrow huber": ("chinchilla", square(0.004), {"delta": 1e-3}),
}


def assert_same(found: dict[str, float], params: dict[str, float]) -> None:
    for name, value in params.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize("name", CASES)
def test_all_points_give_the_constants_of_the_fit(engine: Page, name: str) -> None:
    law, runs, options = CASES[name]
    result = fit(law, runs, intervals="profile", **options)
    found = fitted(engine, result)
    assert_same(found["params"], result.params)
    assert found["objective"] == pytest.approx(result.best.value, rel=1e-6)
    assert engine.evaluate("([a, b]) => agrees(a, b)", [found["params"], result.params])


@pytest.mark.parametrize("name", ["offset", "offset, vague", "power", "two columns", "weights"])
@pytest.mark.parametrize("keep", [slice(1, None), slice(None, -2)], ids=["first", "last two"])
def test_without_some_points_it_is_the_fit_of_the_others(
    engine: Page, name: str, keep: slice
) -> None:
    law, runs, options = CASES[name]
    whole = fit(law, runs, intervals="profile", **options)
    order = runs.sort_values(["N", "D"]).iloc[keep]
    part = fit(law, order, intervals="profile", **options)
    assert_same(fitted(engine, whole, keep)["params"], part.params)


def test_a_fit_that_differs_is_told_apart(engine: Page) -> None:
    one, other = {"E": 1.5, "A": 20.0}, {"E": 1.5, "A": 20.01}
    assert not engine.evaluate("([a, b]) => agrees(a, b)", [one, other])


def test_fewer_points_than_constants_give_no_fit(engine: Page) -> None:
    result = fit("power_offset", ladder(0.003), intervals="profile")
    assert fitted(engine, result, slice(0, 2)) is None


def test_the_law_is_computed_as_a_published_one(engine: Page) -> None:
    block = published.get("besiroglu2024").to_block()
    form = form_of("chinchilla", ["N", "D"])
    words = [form, block["params"], {"N": 70e9, "D": 1.4e12}]
    found = engine.evaluate("([form, params, x]) => lawAt(form, params, x)", words)
    p = block["params"]
    assert found == pytest.approx(
        p["E"] + p["A"] * 70e9 ** -p["alpha"] + p["B"] * 1.4e12 ** -p["beta"], rel=1e-12
    )
