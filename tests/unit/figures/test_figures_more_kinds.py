"""Held-out predictions, published laws, crossed settings, the envelope, styles from the command."""

import argparse
import csv
import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from scalelab import cli
from scalelab.errors import UserError
from scalelab.figures import NotInStudy, command, draw, load_study, style
from scalelab.figures.curves import lower_envelope
from scalelab.figures.heldout import tests as predictions
from scalelab.figures.published import longest_ladder
from scalelab.figures.venues import VENUES
from scalelab.laws import fit_study, predict, published


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def numbers_of(study, name, out):
    return rows_of(draw(name, study, out, formats=())[0])


@pytest.fixture
def crossed(case, tmp_path):
    """The usual study with three schedules: cosine 1% and constant 3% above wsd at each size."""
    folder = tmp_path / "results" / "crossed"
    folder.mkdir(parents=True)
    table = pd.read_csv(case("usual") / "runs.csv")
    parts = []
    for name, extra in {"wsd": 0.0, "cosine": 0.01, "constant": 0.03}.items():
        part = table.copy()
        part["schedule"] = name
        part["id"] = [f"{one}-{name}" for one in table["id"]]
        part["label"] = [f"{one}-{name}" for one in table["label"]]
        part["loss_nats"] = table["loss_nats"] * (1 + extra)
        parts.append(part)
    runs = pd.concat(parts)
    runs.to_csv(folder / "runs.csv", index=False)
    laws = json.dumps(fit_study(runs, [], "crossed"))
    (folder / "laws.json").write_text(laws, encoding="utf-8")
    return folder


def test_a_crossed_setting_is_compared_at_each_size_with_the_best_at_the_largest(crossed, tmp_path):
    rows = numbers_of(crossed, "axis", tmp_path / "out")
    assert {row["axis"] for row in rows} == {"schedule"}
    means = pd.DataFrame(rows).astype({"difference_percent": float, "N": float})
    means = means.groupby(["value", "N"])["difference_percent"].mean().unstack()
    assert means.shape[1] == 8
    assert means.loc["wsd"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert means.loc["cosine"].to_numpy() == pytest.approx(1, abs=1e-9)
    assert means.loc["constant"].to_numpy() == pytest.approx(3, abs=1e-9)


def test_a_study_with_no_crossed_setting_says_so(case, tmp_path):
    with pytest.raises(NotInStudy, match="no setting is crossed"):
        draw("axis", case("usual"), tmp_path)


def test_predictions_of_left_out_sizes_are_those_of_a_fit_without_them(design, tmp_path):
    study = load_study(design("grid") / "runs.csv", design("grid") / "laws.json")
    fit = study.fits[0]
    rows = numbers_of(design("grid"), "heldout", tmp_path)
    counts = sorted({int(row["sizes_left_out"]) for row in rows})
    assert counts == [block["sizes_left_out"] for block in fit["heldout_series"]]
    sizes = sorted({point["N"] for point in fit["points"]})
    for block in fit["heldout_series"]:
        left = block["sizes_left_out"]
        mine = [row for row in rows if int(row["sizes_left_out"]) == left]
        assert len(mine) == len(block["points"])
        assert {float(row["x"]) for row in mine} == set(sizes[-left:])
        reach = max(float(row["x_over_largest_fitted"]) for row in mine)
        assert reach == pytest.approx(sizes[-1] / sizes[-1 - left])
        at = np.array([[point["N"], point["D"]] for point in block["points"]])
        expected = predict({**fit, "params": block["params"]}, at)
        assert [float(row["predicted"]) for row in mine] == pytest.approx(list(expected))


def test_a_fit_that_leaves_nothing_out_has_no_such_figure(case, tmp_path):
    with pytest.raises(NotInStudy, match="sizes enough"):
        draw("heldout", case("three sizes"), tmp_path)


def test_a_law_that_rises_reaches_downwards():
    points = [{"loss_nats": value} for value in (2.0, 3.0, 4.0)]
    block = {
        "sizes_left_out": 1,
        "fitted_on": 3,
        "points": [
            {"loss_nats": 1.5, "predicted_error": 0.2, "observed_error": 0.25, "low": 0.1,
             "high": 0.3}
        ],
    }  # fmt: skip
    whole = {"x": "loss_nats", "points": [{"loss_nats": 1.5}, *points], "heldout_series": [block]}
    (row,) = predictions(whole)
    assert row[3] == pytest.approx(1.5 / 2.0)
    assert row[8] == pytest.approx(-20)


def test_published_curves_are_the_papers_laws_at_the_studys_tokens(case, tmp_path):
    rows = numbers_of(case("usual"), "published", tmp_path)
    curve = [row for row in rows if row["source"].startswith("Besiroglu")]
    law = published.get("besiroglu2024")["params"]
    totals = {
        run.size: run.number("N_total") for run in load_study(case("usual") / "runs.csv", None).runs
    }
    for row in (curve[0], curve[-1]):
        n, d = float(row["N"]), float(row["D"])
        assert d == pytest.approx(20 * n, rel=1e-3)
        n = totals[min(totals, key=lambda size: abs(size - n))]  # these papers count embeddings
        loss = law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]
        assert float(row["loss"]) == pytest.approx(loss)
    middle = [float(row["loss_over_middle"]) for row in curve]
    assert middle[len(middle) // 2] == pytest.approx(1, rel=1e-6), "one in the middle of the ladder"
    runs = {row["run"] for row in rows if row["what"] == "run"}
    assert len(runs) == 11


def test_a_study_without_a_ladder_has_no_published_curves(design, tmp_path):
    with pytest.raises(NotInStudy, match="no 3 sizes at one D"):
        draw("published", design("lone sweep"), tmp_path)


def test_the_longest_ladder_of_a_grid_is_at_one_d(design):
    study = load_study(design("grid") / "runs.csv", design("grid") / "laws.json")
    ladder = longest_ladder(study)
    assert len({run.number("D") for run in ladder.runs}) == 1
    assert "tokens" in ladder.told


def test_the_envelope_is_the_least_loss_so_far():
    x = [10.0**k for k in range(8)]
    curves = [
        [(value, 5.0 - 0.3 * k) for k, value in enumerate(x)],
        [(1e2 * value, 6.0 - 0.6 * k) for k, value in enumerate(x)],
    ]
    found = lower_envelope(curves)
    losses = [loss for _, loss in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < min(loss for _, loss in curves[0])
    assert lower_envelope(curves[:1]) == []


@pytest.mark.parametrize("venue", VENUES)
def test_every_letter_is_in_the_font_of_the_venue(design, tmp_path, venue):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw("isoflop", design("isoflop"), tmp_path, formats=("svg",), look=venue)


def test_a_style_is_redrawn_beside_the_studys_own_figures(design, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    shutil.copytree(design("isoflop"), results / "isoflop")
    monkeypatch.chdir(tmp_path)
    arguments = ["figures", "--only", "isoflop", "--style", "neurips", "--formats", "svg"]
    assert cli.main(arguments) == 0
    out = results / "isoflop" / "figures-neurips"
    assert {path.name for path in out.iterdir()} == {"isoflop.svg", "isoflop.csv"}
    assert f'width="{72 * 5.5:g}pt"' in (out / "isoflop.svg").read_text(encoding="utf-8")
    assert cli.main(["figures", "--style", "neurip"]) == 2
    assert "did you mean 'neurips'" in capsys.readouterr().err


def test_which_study_is_asked_where_there_are_several(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "laws.json").write_text("{}")
    with pytest.raises(UserError, match=r"one study in .* found .*one, .*two"):
        command.only_study(tmp_path)
    with pytest.raises(UserError, match="found none"):
        command.only_study(tmp_path / "one")


def test_a_style_of_the_command_is_one_of_the_study_file():
    from typing import get_args, get_type_hints

    from scalelab.config.schema import FiguresConfig

    assert set(get_args(get_type_hints(FiguresConfig)["style"])) == set(VENUES)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert all(name in parser.format_help() for name in VENUES)
    with style.context("ieee"):
        assert style.small() == VENUES["ieee"].small
