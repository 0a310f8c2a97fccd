"""The fits of McLeish et al. 2025 ("Gemstones", arXiv:2502.06857): L(N, D) on sets of their runs.

Needs `../shared/reference/gemstones` beside the repository; skipped where it is absent.
Run: python -m pytest tests/oracles/test_oracle_gemstones.py
"""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalelab.laws import registry
from scalelab.laws.estimation.estimate import Estimate, estimate
from scalelab.laws.estimation.objective import robust
from scalelab.laws.estimation.solver import minimise

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "gemstones"
PUBLISHED = REFERENCE / "published_approach3_params.json"
FITS = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {}
FORM = registry.get("chinchilla")
VOCABULARY = 50304


def table_of(key: str) -> Path:
    return REFERENCE / f"{key.partition(':')[2].removesuffix('_no_embeds')}.csv"


# A fit is named by the exponent of its Huber threshold and its set of runs.
KEYS = [key for key in FITS if table_of(key).exists()]
pytestmark = pytest.mark.skipif(not KEYS, reason=f"no reference data at {REFERENCE}")

# The objective that they report, over ours, less one: these published optima are no minima.
MISSED = {
    "-3:hot_100b+_512x": 8.4e-3,
    "-4:cool_begin": 4.0e-5,
    "-4:cool_begin_no_embeds": 1.1e-4,
    "-4:cool_end": 5.7e-3,
    "-4:cool_end_no_embeds": 1.1e-3,
    "-4:hot": 4.7e-4,
    "-4:hot_100b+_512x": 0.284,
    "-4:hot_sampled_like_chinchilla": 5.7e-5,
}


@functools.cache
def points(key: str) -> tuple[np.ndarray, np.ndarray]:
    """x (n, 2): N with or without embeddings, D; log loss (n,)."""
    raw = pd.read_csv(table_of(key))
    n = raw["params_active_precise"]
    if key.endswith("_no_embeds"):
        n = n - VOCABULARY * raw["width"]
    x = np.column_stack([n, raw["tokens"]]).astype(float)
    return x, np.log(raw["final_loss"].to_numpy())


def delta_of(key: str) -> float:
    return 10.0 ** int(key.partition(":")[0])


@functools.cache
def fitted(key: str) -> Estimate:
    x, log_loss = points(key)
    return estimate(FORM, x, log_loss, "huber", delta_of(key))


def published(key: str) -> float:
    """Their objective, computed anew from their constants."""
    x, log_loss = points(key)
    fit = FITS[key]
    params = {name: fit[name] for name in ("alpha", "beta")}
    params |= {name.upper(): np.exp(fit[name]) for name in "eab"}
    loss = FORM.value(FORM.theta(params)[None], np.log(x))[0]
    return float(robust(log_loss - np.log(loss), delta_of(key))[0].sum())


def from_random_starts(key: str) -> float:
    """The lowest minimum from the best of 6000 random parameters, most where minima are many."""
    problem, count = fitted(key).problem, 6_000
    random = np.random.default_rng(0)

    def exponents() -> np.ndarray:
        return np.exp(random.uniform(np.log(0.03), np.log(6), count))

    def log_coefficients() -> np.ndarray:
        return np.log(random.uniform(0.005, 1, count))

    floor = random.uniform(0, 1, count)
    theta = np.column_stack(
        [floor, log_coefficients(), exponents(), log_coefficients(), exponents()]
    )
    value = np.concatenate(
        [
            robust(problem.y - np.log(FORM.value(part, problem.u)), problem.delta)[0].sum(1)
            for part in np.array_split(theta, 30)
        ]
    )
    kept = 120 if delta_of(key) < 1e-3 and len(problem.y) < 500 else 12
    starts = theta[np.argsort(value)[:kept]]
    return float(minimise(problem, starts, *FORM.bounds(problem.u)).value.min())


@pytest.mark.parametrize("key", KEYS)
def test_the_published_objective_is_reached_or_beaten(key):
    best, theirs = fitted(key), published(key)
    assert theirs == pytest.approx(FITS[key]["loss"], rel=5e-6)
    assert best.converged and best.value <= theirs
    excess = theirs / best.value - 1
    # Theirs is in single precision: up to 3e-6 of the objective is lost in rounding.
    assert excess < 5e-6 if key not in MISSED else excess == pytest.approx(MISSED[key], rel=0.05)


@pytest.mark.parametrize("key", KEYS)
def test_no_random_start_leads_lower(key):
    assert fitted(key).value <= from_random_starts(key) * (1 + 1e-9)


def test_embeddings_counted_or_not_move_the_exponent_of_n_by_more_than_a_twentieth():
    for runs in ("cool_begin", "cool_end", "hot_100b+", "hot_120b+_only"):
        with_them, without = (fitted(f"-3:{runs}{end}").params for end in ("", "_no_embeds"))
        assert with_them["alpha"] > 1.03 * without["alpha"]
        assert with_them["beta"] == pytest.approx(without["beta"], rel=0.1)
