"""Evaluation sets on the page: side by side, each with its losses and its law."""

import html

import pandas as pd
import pytest
from example_designs import write_design

from scalelab.figures import draw, load_study
from scalelab.report import write_report
from scalelab.report.sets import texts


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two sets with its leading figure."""
    study = write_design(tmp_path_factory.mktemp("report"), "sets")
    for kind in ("scaling_law", "evaluation_sets"):
        draw(kind, study, study / "figures", formats=("svg",))
    return study


def load(study):
    return load_study(study / "runs.csv", study / "laws.json")


def test_a_row_has_the_means_of_both_ends_and_the_law(study):
    table = pd.read_csv(study / "runs.csv")
    rows = {row.name: row for row in texts(load(study))}
    assert list(rows) == ["test", "near", "far"]
    for name, prefix in (("test", ""), ("near", "near:"), ("far", "far:")):
        ends = [table[table["N"] == size] for size in (table["N"].min(), table["N"].max())]
        found = rows[name]
        assert found.smallest == pytest.approx(ends[0][f"{prefix}loss_nats"].mean())
        assert found.largest == pytest.approx(ends[1][f"{prefix}loss_nats"].mean())
        assert found.bits_per_byte == pytest.approx(ends[1][f"{prefix}bits_per_byte"].mean())
    laws = load(study).fits
    for name, law in (("test", laws[0]), ("far", laws[1])):
        assert [text.split(" = ")[0] for text in rows[name].law] == list(law["params"])
    assert rows["test"].law != rows["far"].law and not rows["near"].law


def test_the_page_shows_the_sets_and_their_figure(study):
    out = write_report(load(study), study / "figures", study / "report.html")
    page = html.unescape(out.read_text(encoding="utf-8"))
    section = page.split('id="texts"')[1].split("</table>")[0]
    assert all(f">{name}</th>" in section for name in ("test", "near", "far"))
    assert "not fitted" in section and "alpha = " in section
    assert 'alt="Held-out loss against size on each evaluation set' in page
    assert "losses on the set far" in page, "the law of a set says so"
    assert 'href="#texts"' in page


def test_a_study_without_sets_has_no_such_section(usual):
    assert texts(load(usual)) == []
    out = write_report(load(usual), usual / "figures", usual.parent / "plain.html")
    assert 'id="texts"' not in out.read_text(encoding="utf-8")
