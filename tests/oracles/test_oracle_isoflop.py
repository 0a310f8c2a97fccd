"""Exponents of N_opt that others published, from their optima and from their profiles.

Porian et al. 2024 (arXiv:2406.19146): 15 experiments. nanochat, log of January 2026: one set of
runs counted in three ways. Needs `../shared/reference/{porian,nanochat}` beside the repository;
skipped where it is absent. Run: python -m pytest tests/oracles/test_oracle_isoflop.py
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalelab.laws.allocation.exponents import describe, frontier
from scalelab.laws.allocation.isoflop import isoflop

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
PORIAN, NANOCHAT = REFERENCE / "porian", REFERENCE / "nanochat" / "isoflop_optima_jan2026.csv"
needs_porian = pytest.mark.skipif(not PORIAN.exists(), reason=f"no reference data at {PORIAN}")
needs_nanochat = pytest.mark.skipif(
    not NANOCHAT.exists(), reason=f"no reference data at {NANOCHAT}"
)


@functools.cache
def table(name: str) -> pd.DataFrame:
    return pd.read_csv(PORIAN / name)


def experiments() -> list[int]:
    return list(range(15))


def rows_of(place: int, name: str) -> tuple[pd.Series, pd.DataFrame]:
    """One experiment's published fit, and its rows of another table."""
    published = table("published_fits.csv").iloc[place]
    rows = table(name)
    same = (rows["file"] == published["file"]) & (rows["config"] == published["config"])
    return published, rows[same].dropna()


@needs_porian
@pytest.mark.parametrize("place", experiments())
def test_published_exponents_follow_from_the_published_optima(place):
    assert len(table("published_fits.csv")) == 15
    published, rows = rows_of(place, "optimal_pairs.csv")
    pairs = (rows["flops"], rows["N_opt"], rows["D_opt"], None)
    weighted = frontier(*pairs, rows["logN_std"])
    assert weighted.n_law.exponent == pytest.approx(published["n_exp_weighted"], abs=1e-9)
    assert weighted.n_law.coefficient == pytest.approx(published["n_coef"], rel=1e-6)
    plain = frontier(*pairs)
    assert plain.n_law.exponent == pytest.approx(published["n_exp_basic"], abs=1e-9)


@needs_porian
@pytest.mark.parametrize("place", experiments())
def test_our_minima_give_nearly_the_published_exponents(place):
    """Theirs are minima of an interpolation of smoothed curves, ours of parabolas."""
    published, rows = rows_of(place, "isoflop_points.csv")
    found = isoflop(rows, y="loss", budget="flops")
    ours = found.frontier.n_law.exponent
    print(f"{published['config']}: {ours:.3f}, published {published['n_exp_basic']:.3f}")
    assert ours == pytest.approx(published["n_exp_basic"], abs=0.035)


@needs_porian
def test_a_narrower_or_wider_window_leaves_the_exponents_where_they_are():
    moved = []
    for place in experiments():
        published, rows = rows_of(place, "isoflop_points.csv")
        for window in (5, 10):
            found = isoflop(rows, y="loss", budget="flops", window=window)
            moved.append(found.frontier.n_law.exponent - published["n_exp_basic"])
    assert np.abs(moved).max() < 0.035


@needs_nanochat
@pytest.mark.parametrize(
    "convention,n_exponent,d_exponent",
    [
        ("all_chinchilla_style", 0.37, 0.50),
        ("matmul_kaplan_style", 0.54, 0.49),
        ("transformer_only", 0.70, 0.41),
    ],
)
def test_what_is_counted_decides_the_exponent(convention, n_exponent, d_exponent):
    """The same runs: the exponent of N goes from 0.37 to 0.70 with what N counts."""
    rows = pd.read_csv(NANOCHAT)
    rows = rows[rows["convention"] == convention]
    found = frontier(rows["flops"], rows["eff_params"], rows["tokens"], rows["val_bpb"])
    print(f"N counts {convention}: {describe(found.n_law.to_json(), 'N_opt')}")
    assert found.n_law.exponent == pytest.approx(n_exponent, abs=0.006)
    assert found.d_law.exponent == pytest.approx(d_exponent, abs=0.006)
    low, high = found.n_law.interval
    assert low < n_exponent < high
