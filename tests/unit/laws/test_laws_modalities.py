"""A law for each kind of sequence: laws that are known, units, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.answers import Material, get
from scalelab.laws.answers.words import sentences
from scalelab.laws.study import fit_study

SIZES = np.geomspace(1e4, 1e6, 6)
TRUTH = {"docstrings": (1.0, 2.0, 0.2), "images": (0.6, 0.3, 0.3), "series": (1.2, 0.8, 0.5)}
"""Floor, loss above it at N = 1e5, and exponent."""
UNITS = {"docstrings": "bits per byte", "images": "bits per pixel", "series": "bits per sample"}


def loss(kind, n):
    floor, above, exponent = TRUTH[kind]
    return floor + above * (n / 1e5) ** -exponent


def table(noise=0.0, sizes=SIZES, **columns) -> pd.DataFrame:
    random = np.random.default_rng(5)
    return pd.DataFrame(
        [
            {
                "id": f"{kind}{n:.0f}", "label": f"{kind}{n:.0f}", "source": kind, "N": n,
                "D": 1e6, "C": 6e6 * n, "status": "ok", "seconds": 1.0, "threads": 1,
                "bits_per_byte": loss(kind, n) * np.exp(noise * random.standard_normal()),
                "loss_nats": 3.0, **columns,
            }
            for kind in TRUTH
            for n in sizes
        ]
    )  # fmt: skip


def modalities(runs, **settings):
    material = Material(runs)
    return get("modalities").make(material, {"axis": "source", "units": UNITS, **settings})


@pytest.fixture
def together(monkeypatch):
    """Without the fit of each kind alone, which takes the time and is tested in the last test."""

    def no_fit(*args, **kwargs):
        raise UserError("not fitted here")

    monkeypatch.setattr("scalelab.laws.answers.by_axis.fit", no_fit)


@pytest.mark.usefixtures("together")
def test_laws_without_noise_are_found_exactly():
    block = modalities(table())
    assert [one["value"] for one in block["values"]] == list(TRUTH)
    for one in block["values"]:
        floor, _, exponent = TRUTH[one["value"]]
        assert one["floor"][0] == pytest.approx(floor, rel=1e-4)
        assert one["exponent"][0] == pytest.approx(exponent, rel=1e-4)
        assert one["largest"] == pytest.approx(loss(one["value"], 1e6))
        assert one["above_floor"] == pytest.approx(1 - floor / loss(one["value"], 1e6), rel=1e-3)
    assert block["values"][2]["exponent_difference"][0] == pytest.approx(0.3, abs=1e-4)
    assert block["dof"] == 9


@pytest.mark.usefixtures("together")
def test_units_stand_beside_each_loss_and_no_offset_is_compared():
    block = modalities(table(0.002))
    json.dumps(block, allow_nan=False)
    told = sentences({"answer": "modalities", **block})
    for sentence, (kind, unit) in zip(told[:3], UNITS.items(), strict=True):
        assert sentence.startswith(f"On {kind} ") and unit in sentence
    assert "against docstrings" in told[1] and "against" not in told[0]
    assert not {"offset_ratio", "above_floor_ratio"} & set(block["values"][1])


@pytest.mark.usefixtures("together")
def test_intervals_hold_the_truth():
    block = modalities(table(0.002))
    for one in block["values"]:
        floor, _, exponent = TRUTH[one["value"]]
        assert one["exponent"][1] < exponent < one["exponent"][2]
        assert one["floor"][1] < floor < one["floor"][2]


@pytest.mark.usefixtures("together")
def test_a_floor_that_does_not_show_is_said():
    runs = table()
    text = runs["source"] == "docstrings"
    runs.loc[text, "bits_per_byte"] = 2 * (runs.loc[text, "N"] / 1e5) ** -0.2
    block = modalities(runs)
    assert block["values"][0]["floor"] == [0.0, None, None]
    assert any("floor of docstrings is at its bound 0" in line for line in block["warnings"])


@pytest.mark.usefixtures("together")
def test_a_kind_without_runs_is_left_out_with_a_warning():
    runs = table()
    runs.loc[runs["source"] == "images", "status"] = "diverged"
    block = modalities(runs)
    assert [one["value"] for one in block["values"]] == ["docstrings", "series"]
    assert block["warnings"][0].startswith("source images is left out: ")


@pytest.mark.usefixtures("together")
def test_one_rate_for_all_is_a_warning():
    assert any("all values have the lr" in line for line in modalities(table(lr=1e-3))["warnings"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 1}, "level is 1.0: expected a number between 0 and 1"),
        ({"units": "bits"}, "units is 'bits': expected the unit of each source"),
        ({"axis": "kind"}, "'kind'"),
        ({"units": {"images": "bits per pixel"}}, "found 1 values with a law, expected 2"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        modalities(table(), **settings)


def test_the_laws_file_has_the_law_of_each_kind_alone():
    runs = table(0.002)
    runs = runs[runs["source"] != "series"]
    asked = {"answer": "modalities", "axis": "source", "units": UNITS}
    block = fit_study(runs, [], "beyond", [asked])["answers"][0]
    floor, _, exponent = TRUTH["images"]
    alone = block["values"][1]["alone"]
    assert alone["E"][1] < floor < alone["E"][2]
    assert alone["alpha"][1] < exponent < alone["alpha"][2]
