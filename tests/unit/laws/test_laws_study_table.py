"""A study's table as it is collected: empty columns, failed runs, reproducible provenance."""

import json

import numpy as np
import pandas as pd

from scalelab.laws import fit_study


def _runs() -> pd.DataFrame:
    sizes = np.array([1e4, 3e4, 1e5, 3e5, 1e6, 3e6])
    noise = 1 + 1e-3 * np.array([1, -1, 1, -1, 1, -1])
    return pd.DataFrame(
        {
            "id": [f"{place:012x}" for place in range(6)],
            "label": [f"d{place}-s1" for place in range(6)],
            "N": sizes.astype(int),
            "loss_nats": (1.8 + 60 * sizes**-0.25) * noise,
            "status": "ok",
            "reason": np.nan,
        }
    )


def test_empty_columns_and_failed_runs_become_strict_json():
    runs = _runs()
    runs.loc[5, ["loss_nats", "status"]] = [np.nan, "diverged"]
    laws = fit_study(runs, [{"law": "power_offset", "x": "N"}], "study")
    json.dumps(laws, allow_nan=False)
    assert [item["label"] for item in laws["fits"][0]["excluded"]] == ["d5-s1"]


def test_data_hash_follows_the_table():
    fits = [{"law": "power_offset", "x": "N"}]
    first, again = (fit_study(_runs(), fits, "study")["provenance"] for _ in range(2))
    changed = _runs().assign(loss_nats=lambda frame: frame["loss_nats"] * 1.001)
    other = fit_study(changed, fits, "study")["provenance"]
    assert first["data_hash"] == again["data_hash"] != other["data_hash"]
