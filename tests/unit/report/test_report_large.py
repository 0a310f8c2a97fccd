"""The page of a study of thousands of runs: below 5 MB, and it says what it leaves out."""

import copy
import dataclasses
import html

import matplotlib.image
import numpy as np
import pytest

from scalelab.figures.study import Run, Study, even, load_study
from scalelab.report import explore, large, material, weight
from scalelab.report.page import write_report

MANY = 5000


@pytest.fixture(scope="module")
def many(usual) -> Study:
    """The usual study with its rows over and over, under other names, and a law of 5,000 points."""
    study = load_study(usual / "runs.csv", usual / "laws.json")
    runs = []
    for place in range(MANY):
        columns = dict(study.runs[place % len(study.runs)].columns)
        columns |= {"id": f"{place:012x}", "label": f"run-{place}", "lr": f"{1e-3 + place * 1e-7}"}
        runs.append(
            Run(columns["id"], columns["label"], columns["status"], columns["reason"], columns)
        )
    laws = copy.deepcopy(dict(study.laws))
    laws["fits"] = laws["fits"][:1]
    points = laws["fits"][0]["points"]
    laws["fits"][0]["points"] = [
        {**points[place % len(points)], "runs": [f"{place:012x}"]} for place in range(MANY - 100)
    ]
    return dataclasses.replace(study, runs=tuple(runs), laws=laws)


@pytest.fixture(scope="module")
def page(many, usual, tmp_path_factory) -> str:
    path = write_report(many, usual / "figures", tmp_path_factory.mktemp("large") / "report.html")
    return path.read_text(encoding="utf-8")


def test_the_page_of_5000_runs_is_below_5_mb(page):
    assert len(page.encode()) < 5_000_000
    rows = page.split('<table id="runs">')[1].split("</table>")[0]
    assert rows.count("<tr>") == 1 + large.MOST_RUNS
    assert "run-0<" in rows and f"run-{MANY - 1}<" in rows


def test_it_says_what_it_leaves_out(page):
    text = html.unescape(page)
    assert "show 500 of the 5,000 runs, evenly chosen in the order of N" in text
    assert "300 of 5,000 rows, evenly chosen; all are in tables/runs.csv" in text
    assert "100 runs have a loss but are not in the primary fit" in text
    assert f"All {MANY} runs together took" in text, "sums are of all runs"


def test_a_law_of_thousands_of_points_is_drawn_in_part_and_not_fitted_again(many):
    shown = large.thinned(many)
    (view,) = explore.views(many, shown)
    assert len(view["points"]) == large.MOST_POINTS and view["of"] == MANY - 100
    assert "holds 500 of the 4,900 points" in view["refit"]
    known = [point for point in view["points"] if point["runs"]]
    lost = [point for point in view["points"] if not point["runs"]]
    assert all("of" not in point for point in known) and all(point["of"] == 1 for point in lost)
    assert max(place for point in known for place in point["runs"]) < large.MOST_RUNS


def test_a_small_study_is_shown_whole(usual):
    study = load_study(usual / "runs.csv", usual / "laws.json")
    assert large.thinned(study) is study and large.note(study) is None
    for view in explore.views(study):
        assert "of" not in view and all("of" not in point for point in view["points"])
    assert [curve["run"] for curve in material.curves(study)] == list(range(len(study.runs)))
    assert large.rows_note(large.MOST_ROWS, "x") == ""
    assert large.first(["a"] * large.MOST_NAMED, "x") == ["a"] * large.MOST_NAMED
    assert large.first(["a"] * 52, "laws.json")[-1] == "2 more in laws.json"


def test_an_even_choice_has_both_ends_and_nothing_twice():
    assert even(range(10), 10) == list(range(10))
    chosen = even(range(4801), 500)
    assert len(set(chosen)) == 500 and (chosen[0], chosen[-1]) == (0, 4800)
    assert set(np.diff(chosen)) <= {9, 10}


def test_large_pictures_give_way_and_are_named(usual, many, tmp_path):
    """PNG of noise cannot be packed: at full size they are far above the page's limit."""
    folder = tmp_path / "figures"
    folder.mkdir()
    noise = np.random.default_rng(0).random((900, 900, 3))
    for name in ("scaling_law", "cost", "loss_vs_tokens"):
        (folder / f"{name}.svg").write_bytes(b"<svg/>" + b" " * 4_000_000)
        matplotlib.image.imsave(folder / f"{name}.png", noise)
    path = write_report(many, folder, tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    assert len(page.encode()) < weight.MOST_BYTES
    left = [name for name in ("scaling_law", "cost", "loss_vs_tokens") if f"{name}.pdf has" in page]
    assert left, "half the pixels of three are still too much"
    assert page.count("data:image/png") == 3 - len(left)


def test_pictures_are_lightened_only_as_far_as_needed(tmp_path):
    noise = np.random.default_rng(0).random((200, 200, 3))
    for name in ("a", "b"):
        matplotlib.image.imsave(tmp_path / f"{name}.png", noise)
    pictures = [{"name": "a", "uri": "x" * 150_000}, {"name": "b", "uri": "y" * 140_000}]
    weight.lighten(pictures, tmp_path, 1000)
    assert pictures[0]["uri"].startswith("data:image/png;base64,")
    assert len(pictures[0]["uri"]) < 75_000 and pictures[1]["uri"] == "y" * 140_000
    weight.lighten(pictures, tmp_path, 10**9)
    assert [picture["uri"] for picture in pictures] == [None, None]
