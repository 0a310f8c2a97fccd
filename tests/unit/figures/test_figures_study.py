"""Broken artifacts are named by file, line and column; the command writes what it was asked for."""

import argparse

import pytest
from example_study import write_study

from scalelab.errors import UserError
from scalelab.figures import command, draw, kind, load_study


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path, lines=6)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_missing_column_is_named(study):
    edit(study / "runs.csv", "loss_nats,", "loss,")
    with pytest.raises(UserError, match=r"runs\.csv: column loss_nats is missing"):
        load_study(study / "runs.csv", study / "laws.json")


def test_text_where_a_number_belongs_is_named_with_its_line(study):
    edit(study / "runs.csv", ",200000,", ",many,")
    with pytest.raises(UserError, match=r"runs\.csv: line 2, column D: found 'many'"):
        load_study(study / "runs.csv", study / "laws.json")


def test_missing_field_of_a_fit_is_named(study):
    edit(study / "laws.json", '"points":', '"pints":')
    with pytest.raises(UserError, match=r"laws\.json: fits\[0\] has no points"):
        load_study(study / "runs.csv", study / "laws.json")


def test_points_may_name_runs_by_label_but_not_runs_of_another_study(study, tmp_path):
    loaded = load_study(study / "runs.csv", study / "laws.json")
    first = loaded.runs_of(loaded.fits[0]["points"][0])
    edit(study / "laws.json", first[0].id, first[0].label)
    again = load_study(study / "runs.csv", study / "laws.json")
    assert again.runs_of(again.fits[0]["points"][0]) == first
    edit(study / "laws.json", first[0].label, "stranger")
    with pytest.raises(UserError, match=r"the run stranger, which runs\.csv does not have"):
        draw("scaling_law", study, tmp_path / "out")


def test_missing_files_are_named(study, tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        load_study(study / "none.csv", study / "laws.json")
    run = load_study(study / "runs.csv", study / "laws.json").runs[0]
    (study.parent / "runs" / run.id / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=f"expected the curve of run {run.label}"):
        draw("loss_vs_tokens", study, tmp_path / "out")


def test_broken_line_of_a_curve_is_named(study, tmp_path):
    run = load_study(study / "runs.csv", study / "laws.json").runs[0]
    path = study.parent / "runs" / run.id / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 9, "tok', encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 7: expected a JSON object"):
        draw("loss_vs_flops", study, tmp_path / "out")


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(
        UserError, match="expected one of approaches, axis, by_axis, compression, contours"
    ):
        kind("pie")


def test_command_draws_one_kind_in_one_format(study, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = tmp_path / "out"
    words = ["--runs", str(study / "runs.csv"), "--laws", str(study / "laws.json")]
    words += ["--only", "scaling_law", "--formats", "png", "--width", "double", "--out", str(out)]
    assert command.run(parser.parse_args(words)) == 0
    assert sorted(path.name for path in out.iterdir()) == ["scaling_law.csv", "scaling_law.png"]
    assert "scaling_law.png" in capsys.readouterr().out
