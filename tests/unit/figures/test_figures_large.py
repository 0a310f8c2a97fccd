"""Figures of hundreds of runs: small vector files, all numbers in the CSV."""

import csv
import dataclasses

import pytest

from scalelab.figures import curves, draw_study, load_study, style
from scalelab.figures.law_panel import excluded
from scalelab.figures.study import Run

MANY = 600


@pytest.fixture
def many(case):
    """The usual study, its rows over and over."""
    folder = case("usual")
    study = load_study(folder / "runs.csv", folder / "laws.json")
    rows = [study.runs[place % len(study.runs)] for place in range(MANY)]
    runs = [
        Run(run.id, f"r{place}", run.status, run.reason, run.columns)
        for place, run in enumerate(rows)
    ]
    return dataclasses.replace(study, runs=tuple(sorted(runs, key=lambda run: run.size)))


@pytest.mark.parametrize("kind", ["cost", "loss_vs_tokens"])
def test_crowds_are_pixels_and_the_table_has_every_run(many, tmp_path, kind):
    draw_study(kind, many, tmp_path, ("svg",))
    text = (tmp_path / f"{kind}.svg").read_text(encoding="utf-8")
    assert "<image" in text and len(text) < 1_000_000
    with open(tmp_path / f"{kind}.csv", encoding="utf-8", newline="") as handle:
        assert {row["label"] for row in csv.DictReader(handle) if row["label"]} == {
            run.label for run in many.runs
        }
    if kind != "cost":
        assert f"training loss, {curves.MOST:,} of {MANY:,} runs" in text


def test_few_runs_stay_lines(case, tmp_path):
    folder = case("usual")
    study = load_study(folder / "runs.csv", folder / "laws.json")
    assert len(study.runs) < style.CROWD
    draw_study("cost", study, tmp_path, ("svg",))
    assert "<image" not in (tmp_path / "cost.svg").read_text(encoding="utf-8")


def test_runs_outside_a_law_of_two_columns_are_at_their_n(many):
    """Its x is a list of columns, which is no column."""
    fit = {"x": ["N", "D"], "points": [], "excluded": []}
    found = excluded(many, fit)
    assert len(found) == MANY
    assert all(x == run.size for run, x, _ in found)


def test_names_are_looked_up_and_not_searched_for(many):
    assert many.named is many.named
    assert many.runs_of({"runs": ["r5", "r599"]}) == [many.named["r5"], many.named["r599"]]
