"""The frontier answer on runs of others: Porian et al. 2024, Hoffmann et al. 2022.

Needs `../shared/reference/{porian,chinchilla_epoch}` beside the repository; skipped where it is
absent. Run: python -m pytest tests/oracles/test_oracle_answers.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalelab.laws.answers import Material, get

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
PORIAN = REFERENCE / "porian"
POINTS = REFERENCE / "chinchilla_epoch" / "svg_extracted_data.csv"


def approaches(runs):
    """Blocks of the frontier answer by approach."""
    block = get("frontier").make(Material(runs), {})
    return {one["approach"]: one for one in block["approaches"]}


@pytest.mark.skipif(not PORIAN.exists(), reason=f"no reference data at {PORIAN}")
@pytest.mark.parametrize("place", [0, 5, 10, 14])
def test_isoflop_exponents_are_nearly_those_that_porian_published(place):
    """Their minima are of interpolated curves, ours of parabolas."""
    published = pd.read_csv(PORIAN / "published_fits.csv").iloc[place]
    rows = pd.read_csv(PORIAN / "isoflop_points.csv")
    same = (rows["file"] == published["file"]) & (rows["config"] == published["config"])
    rows = rows[same].dropna()
    runs = pd.DataFrame({"N": rows["N"], "loss_nats": rows["loss"], "budget": rows["flops"]})
    runs["D"] = runs["budget"] / 6 / runs["N"]
    runs["C"] = runs["budget"]
    found = approaches(runs)
    assert found["isoflop"]["N_opt"]["exponent"] == pytest.approx(
        published["n_exp_basic"], abs=0.035
    )
    low, high = found["isoflop"]["N_opt"]["interval"]
    print(f"{published['config']}: {published['n_exp_basic']:.3f}, ours [{low:.3f}, {high:.3f}]")
    kept = [one for one in found["isoflop"]["profiles"] if one["refused"] is None]
    assert all(one["curve"] for one in kept)


@pytest.mark.skipif(not POINTS.exists(), reason=f"no reference data at {POINTS}")
def test_the_parametric_exponent_on_the_points_of_hoffmann():
    """Besiroglu et al. 2024 (arXiv:2404.10102) on these points: beta / (alpha + beta) = 0.513."""
    raw = pd.read_csv(POINTS)
    runs = pd.DataFrame({"N": raw["Model Size"], "loss_nats": raw["loss"]})
    runs["C"] = raw["Training FLOP"]
    runs["D"] = runs["C"] / 6 / runs["N"]
    runs = runs[runs["loss_nats"] < runs["loss_nats"].nlargest(5).iloc[-1]]
    assert len(runs) == 240
    found = approaches(runs)["parametric"]
    low, high = found["N_opt"]["interval"]
    assert low < 0.3658 / (0.3478 + 0.3658) < high
    assert np.isfinite(found["at"]["N"][0])
