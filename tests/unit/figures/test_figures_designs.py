"""Figures of designs: the numbers of laws.json, nothing cut off, what a study lacks is said."""

import argparse
import csv
import json
import shutil

import numpy as np
import pytest
from matplotlib.text import Text

from scalelab.errors import UserError
from scalelab.figures import ALL, KINDS, NotInStudy, command, draw, kind, load_study, style
from scalelab.laws import predict

DRAWN = [
    *(("isoflop", name) for name in ("isoflop", "contours", "approaches")),
    *(("off centre", name) for name in ("isoflop", "contours", "approaches")),
    *((name, "optimum") for name in ("sweep", "lone sweep", "shape", "vocab")),
    *(("grid", name) for name in ("contours", "approaches", "tokens")),
    *(("overtrain", name) for name in ("contours", "approaches", "tokens", "overtraining")),
    ("repeats", "repeats"),
    *(("grid", name) for name in ("heldout", "published")),
    *((name, "axis") for name in ("sweep", "lone sweep")),
    ("sets", "evaluation_sets"),
    ("families", "by_axis"),
    ("modalities", "modalities"),
    ("measures", "measures"),
    ("compression", "compression"),
    *(("speed", name) for name in ("speed", "compression")),
    ("tasks", "tasks"),
    ("transfer", "transfer"),
]


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def load(study):
    return load_study(study / "runs.csv", study / "laws.json")


def laws_of(study):
    return json.loads((study / "laws.json").read_text(encoding="utf-8"))


def approach(study, name):
    (block,) = [b for b in laws_of(study)["answers"][0]["approaches"] if b["approach"] == name]
    return block


def numbers_of(study, name, tmp_path):
    return rows_of(draw(name, study, tmp_path, formats=())[0])


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(("name", "figure"), DRAWN)
@pytest.mark.parametrize("venue", ["paper", "neurips"])
def test_text_is_of_readable_size_and_inside_the_figure(design, name, figure, width, venue):
    with style.context(venue):
        result = kind(figure).build(load(design(name)), width).figure
        result.draw_without_rendering()
    box = result.bbox
    for text in result.findobj(Text):
        if text.get_text() and text.get_visible():
            assert text.get_fontsize() >= 7 or "$" in text.get_text()
            place = text.get_window_extent()
            assert box.x0 - 2 <= place.x0 and place.x1 <= box.x1 + 2, text.get_text()
            assert box.y0 - 2 <= place.y0 and place.y1 <= box.y1 + 2, text.get_text()
    for axes in result.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            if (
                axis.get_scale() == "log"
                and axis.get_visible()
                and axes.get_label() != "<colorbar>"
            ):
                fine = [tick for tick in axis.get_minorticklocs() if low <= tick <= high]
                assert len(fine) >= 2, f"{axis.axis_name} axis: no minor ticks"


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*KINDS, "published")])
def test_a_study_without_the_data_is_one_sentence(case, tmp_path, name):
    with pytest.raises(NotInStudy, match=r"^(laws\.json|runs\.csv) of example: no [^\n]+$"):
        draw(name, case("usual"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_kind_that_needs_something_says_so_and_has_a_caption(request):
    root = request.config.rootpath
    for name in ALL:
        assert bool(kind(name).needs) == (name not in KINDS)
        text = (root / f"workflow/report/{name}.rst").read_text(encoding="utf-8")
        assert len(text.split()) > 15


def test_the_command_draws_what_the_study_has_and_refuses_what_is_asked_in_vain(design, tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    study = design("lone sweep")
    words = ["--runs", str(study / "runs.csv"), "--laws", str(study / "laws.json")]
    words += ["--formats", "svg", "--out", str(tmp_path / "out")]
    assert command.run(parser.parse_args(words)) == 0
    drawn = {path.stem for path in (tmp_path / "out").glob("*.svg")}
    assert drawn == {"axis", "cost", "loss_vs_flops", "loss_vs_tokens", "optimum", "scaling_law"}
    with pytest.raises(UserError, match="no answer frontier"):
        command.run(parser.parse_args([*words, "--only", "contours"]))


def test_isoflop_shows_each_size_and_the_minima_of_laws_json(design, tmp_path):
    study = design("isoflop")
    rows, block = numbers_of(study, "isoflop", tmp_path), approach(study, "isoflop")
    sizes = [row for row in rows if row["what"] == "size"]
    assert len(sizes) == 35
    minima = [row for row in rows if row["what"] == "minimum"]
    for row, profile in zip(minima, block["profiles"], strict=True):
        assert float(row["N"]) == profile["N_opt"]
        assert [float(row["low"]), float(row["high"])] == profile["N_opt_interval"]
    line = [row for row in rows if row["what"] == "N_opt law"]
    assert [float(row["N"]) for row in line] == [step["N"][0] for step in block["path"]]


def test_a_budget_without_a_minimum_is_shown_with_its_reason(design, tmp_path):
    rows = numbers_of(design("off centre"), "isoflop", tmp_path)
    reasons = [row["note"] for row in rows if row["what"] == "no minimum"]
    assert len(reasons) == 5 and all("not bracketed" in text for text in reasons)
    assert not [row for row in rows if row["what"] in ("minimum", "parabola", "N_opt law")]


def test_contours_are_lines_on_which_the_law_has_that_loss(design, tmp_path):
    study = design("isoflop")
    rows, block = numbers_of(study, "contours", tmp_path), approach(study, "parametric")
    lines = [row for row in rows if row["what"] == "contour"]
    assert len({row["loss"] for row in lines}) >= 4
    x = np.array([(float(row["N"]), float(row["D"])) for row in lines])
    wanted = np.array([float(row["loss"]) for row in lines])
    assert predict(block["law"], x) == pytest.approx(wanted, rel=2e-3)


def test_a_band_that_reaches_to_nothing_is_drawn_to_the_edge(design, tmp_path):
    study = shutil.copytree(design("isoflop"), tmp_path / "study")
    laws = json.loads((study / "laws.json").read_text())
    (parametric,) = (
        one
        for answer in laws["answers"]
        if answer["answer"] == "frontier"
        for one in answer["approaches"]
        if one["approach"] == "parametric"
    )
    for step in parametric["path"]:
        step["N"] = [step["N"][0], 0.0, 1e300]
    (study / "laws.json").write_text(json.dumps(laws))
    rows = numbers_of(study, "contours", tmp_path)
    assert any(row["what"] == "contour" for row in rows)


def test_approaches_show_ours_and_the_published_exponents(design, tmp_path):
    study = design("isoflop")
    rows = numbers_of(study, "approaches", tmp_path)
    ours = {row["name"]: row for row in rows if row["what"] == "approach"}
    assert ours.keys() == {"parametric", "isoflop", "envelope"}
    for name, row in ours.items():
        assert float(row["exponent"]) == approach(study, name)["N_opt"]["exponent"]
    published = {row["name"]: float(row["exponent"]) for row in rows if row["what"] == "published"}
    assert published["Kaplan et al. 2020"] == 0.73
    assert published["Hoffmann et al. 2022, isoflop"] == 0.49


def test_optimum_has_each_point_each_optimum_and_the_rule(design, tmp_path):
    study = design("sweep")
    rows = numbers_of(study, "optimum", tmp_path)
    for answer in laws_of(study)["answers"]:
        mine = [row for row in rows if row["axis"] == answer["axis"]]
        points = [row for row in mine if row["what"] == "point"]
        assert len(points) == sum(len(size["points"]) for size in answer["sizes"])
        assert min(float(row["excess_percent"]) for row in points) >= 0
        found = [float(row["x"]) for row in mine if row["what"] == "optimum"]
        assert found == [size["optimum"] for size in answer["sizes"]]
        assert len([row for row in mine if row["what"] == "rule"]) == len(answer["path"])
    failed = [row for row in rows if row["what"] == "failed"]
    assert [float(row["x"]) for row in failed] == [0.032]


@pytest.mark.parametrize(
    ("name", "figure"), [("grid", "tokens"), ("overtrain", "overtraining"), ("repeats", "repeats")]
)
def test_each_run_is_shown_with_its_loss_and_the_law(design, tmp_path, name, figure):
    study = design(name)
    rows, fit = numbers_of(study, figure, tmp_path), laws_of(study)["fits"][0]
    runs = {run.id: run for run in load(study).runs}
    shown = {row["run"]: row for row in rows if row["what"] == "run"}
    assert shown.keys() == runs.keys()
    for identity, row in shown.items():
        assert float(row["loss"]) == runs[identity].number("loss_nats")
        x = [float(row[column]) for column in fit["x"]]
        assert float(row["predicted"]) == pytest.approx(float(predict(fit, [x])[0]))


def test_reducible_losses_of_a_tied_law_are_parallel(design, tmp_path):
    study = design("overtrain")
    fit = laws_of(study)["fits"][0]
    rows = [r for r in numbers_of(study, "overtraining", tmp_path) if r["what"] == "law"]
    assert len({row["tokens_per_param"] for row in rows}) == 5
    for ratio in {row["tokens_per_param"] for row in rows}:
        line = [r for r in rows if r["tokens_per_param"] == ratio]
        c, loss = (np.log([float(r[k]) for r in line]) for k in ("flops_6nd", "reducible"))
        assert np.polyfit(c, loss, 1)[0] == pytest.approx(-fit["params"]["alpha"] / 2, rel=1e-6)


def test_new_tokens_are_worth_more_than_repeated_ones(design, tmp_path):
    rows = numbers_of(design("repeats"), "repeats", tmp_path)
    repeated, fresh = (
        {(r["N"], r["epochs"], r["D"]): float(r["predicted"]) for r in rows if r["what"] == what}
        for what in ("law", "new tokens")
    )
    assert repeated.keys() == fresh.keys() and len(fresh) > 100
    assert all(fresh[key] <= repeated[key] + 1e-12 for key in fresh)


def test_each_evaluation_set_has_its_line(design, tmp_path):
    rows = numbers_of(design("sets"), "evaluation_sets", tmp_path)
    runs = {row["id"]: row for row in rows_of(design("sets") / "runs.csv")}
    columns = {"test": "loss_nats", "near": "near:loss_nats", "far": "far:loss_nats"}
    assert list(dict.fromkeys(row["set"] for row in rows)) == list(columns)
    for name, column in columns.items():
        mine = [row for row in rows if row["set"] == name and row["what"] == "run"]
        assert {row["run"] for row in mine} == set(runs)
        assert all(float(row["loss"]) == float(runs[row["run"]][column]) for row in mine)
    drawn = {row["set"]: row["what"] for row in rows if row["what"] != "run"}
    assert drawn == {"test": "law", "near": "mean", "far": "law"}
    fit = laws_of(design("sets"))["fits"][1]
    assert fit["y"] == "far:loss_nats"
    line = [row for row in rows if row["set"] == "far" and row["what"] == "law"]
    assert [float(row["loss"]) for row in line] == pytest.approx(
        predict(fit, np.array([float(row["N"]) for row in line])), rel=1e-12
    )


def test_speeds_are_those_of_the_answer_with_the_steps_of_each_front(design, tmp_path):
    study = design("speed")
    points = laws_of(study)["answers"][0]["speed_front"]
    rows = numbers_of(study, "speed", tmp_path)
    for what, wanted in (("model", points), ("front", [one for one in points if one["front"]])):
        shown = [
            (int(row["texts"]), row["form"], float(row["tokens_per_second"]), float(row["loss"]))
            for row in rows
            if row["what"].startswith(what)
        ]
        keys = ("texts", "form", "tokens_per_second", "loss")
        assert sorted(shown) == sorted(tuple(one[key] for key in keys) for one in wanted)
    clear = [row for row in rows if row["what"] == "front, clear"]
    assert len(clear) == sum(one["front"] and one["clear"] for one in points) > 2


def test_tasks_show_both_scores_of_every_run_and_the_law(design, tmp_path):
    study = design("tasks")
    (answer,) = laws_of(study)["answers"]
    rows = numbers_of(study, "tasks", tmp_path)
    for task in answer["rows"]:
        here = [row for row in rows if row["task"] == task["task"]]
        for panel, x, y in (
            ("continuous", "N", "continuous"),
            ("accuracy against N", "N", "accuracy"),
            ("accuracy against loss", "loss", "accuracy"),
        ):
            shown = [
                (float(row["x"]), float(row["y"]))
                for row in here
                if row["panel"] == panel and row["what"] == "run"
            ]
            wanted = [(one[x], one[y]) for one in task["runs"] if one[y] is not None]
            assert shown == wanted
        line = [[float(row[k]) for k in ("x", "y")] for row in here if row["what"] == "law"]
        assert line == [one[:2] for one in (task["law"]["line"] if task["law"] else [])]
