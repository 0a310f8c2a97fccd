"""The cost figure: every run in every panel, settings told apart, exponents as in laws.json."""

import csv
import json

import pytest
from example_study import write_study
from matplotlib.text import Text

from scalelab.figures import draw, kind, load_study, style
from scalelab.figures.cost import (
    QUANTITIES,
    growth_text,
    in_unit,
    setting_text,
    settings,
)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def load(study):
    return load_study(study / "runs.csv", study / "laws.json")


def built(study, width="double"):
    with style.context():
        return kind("cost").build(study, width).figure


def change(study, old, new):
    """Another text in runs.csv, in every row."""
    path = study / "runs.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_csv_has_every_number_of_every_run_and_the_growth_of_laws_json(case, tmp_path):
    study = case("two thread counts")
    rows = rows_of(draw("cost", study, tmp_path, formats=())[0])
    for run in rows_of(study / "runs.csv"):
        for quantity in QUANTITIES:
            (row,) = [
                row for row in rows if (row["run"], row["quantity"]) == (run["id"], quantity.column)
            ]
            assert float(row["value"]) == float(run[quantity.column])
            assert row["what"] == ("run" if run["status"] == "ok" else "failed")
            assert (row["threads"], row["status"]) == (run["threads"], run["status"])
    laws = json.loads((study / "laws.json").read_text())
    shown = {row["quantity"]: float(row["exponent"]) for row in rows if row["what"] == "growth"}
    assert shown == {item["column"]: item["exponent"] for item in laws["growth"]}


def test_each_setting_has_its_marker_and_failed_runs_a_cross(case):
    study = load(case("two thread counts"))
    figure = built(study)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[1:] == ["1 thread", "2 threads", "failed run"]
    for axes in figure.axes:
        found = {
            (line.get_xdata()[0], line.get_marker())
            for line in axes.lines
            if line.get_marker() != "None"
        }
        expected = {
            (run.size, "x" if not run.ok else "o" if run.columns["threads"] == "1" else "s")
            for run in study.runs
        }
        assert found == expected


def test_one_setting_without_a_failure_needs_no_entry(case):
    (legend,) = built(load(case("usual"))).legends
    assert len(legend.get_texts()) == 1


def test_panels_name_their_exponent_and_its_error(case):
    study = load(case("usual"))
    for axes, quantity in zip(built(study).axes, QUANTITIES, strict=True):
        exponent, error = growth_text(study.growth[quantity.column])
        assert axes.get_title("left") == f"$a$ = {exponent} ± {error}"


@pytest.mark.parametrize(
    ("exponent", "error", "text"),
    [
        (0.8312, 0.0213, ("0.831", "0.021")),
        (-0.29743, 0.468, ("\N{MINUS SIGN}0.30", "0.47")),
        (2.0, 1e-12, ("2.000", "0.001")),
        (2.0, 0.0, ("2.000", "0.001")),
    ],
)
def test_an_exponent_has_the_digits_of_its_error(exponent, error, text):
    assert growth_text({"exponent": exponent, "standard_error": error}) == text


@pytest.mark.parametrize(
    ("name", "width"),
    [
        *(("two thread counts", width) for width in ("single", "double")),
        *((name, "single") for name in ("narrow range", "three failed", "large models")),
    ],
)
def test_text_stays_on_the_page_and_nothing_overlaps(case, name, width):
    figure = built(load(case(name)), width)
    figure.draw_without_rendering()
    page = figure.bbox
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text() and text.get_window_extent().width > 0
    ]
    boxes = {}
    for text in texts:
        box = text.get_window_extent()
        shown = box.x1 > page.x0 and box.x0 < page.x1 and box.y1 > page.y0 and box.y0 < page.y1
        if shown:
            assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
            assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text.get_text()
        boxes[text] = box
        assert text.get_fontsize() >= 7
    titled = [axes.title.axes._left_title for axes in figure.axes]
    labels = [axes.yaxis.label for axes in figure.axes]
    for one in (*titled, *labels):
        for other in (*titled, *labels):
            if one is not other and one in boxes and other in boxes:
                assert not boxes[one].overlaps(boxes[other]), (one.get_text(), other.get_text())


def test_the_share_has_its_whole_axis_and_the_others_are_logarithmic(case):
    for axes, quantity in zip(built(load(case("usual"))).axes, QUANTITIES, strict=True):
        assert axes.get_xscale() == "log"
        assert axes.get_yscale() == ("linear" if quantity.column == "mfu" else "log")
        if quantity.column == "mfu":
            assert axes.get_ylim() == (0, 100)


def test_a_cost_that_no_run_has_is_said_and_one_of_a_failed_run_shown_at_the_foot(tmp_path):
    study = write_study(tmp_path, lines=6, failed={0: "oom"})
    text = (study / "runs.csv").read_text(encoding="utf-8").replace(",mfu,", ",unknown,")
    (study / "runs.csv").write_text(text, encoding="utf-8")
    laws = json.loads((study / "laws.json").read_text())
    laws["growth"] = [item for item in laws["growth"] if item["column"] != "mfu"]
    (study / "laws.json").write_text(json.dumps(laws))
    loaded = load(study)
    failed = [run for run in loaded.runs if not run.ok]
    for run in failed:
        run.columns["seconds"] = ""
    panels = dict(zip((item.column for item in QUANTITIES), built(loaded).axes, strict=True))
    assert [text.get_text() for text in panels["mfu"].texts] == ["not recorded"]
    crosses = [line for line in panels["seconds"].lines if line.get_marker() == "x"]
    assert [*crosses[0].get_xdata()] == [run.size for run in failed]
    assert panels["seconds"].get_ylim()[0] > 0


def test_bytes_are_in_the_unit_that_their_size_asks_for(case):
    memory = next(item for item in QUANTITIES if item.column == "peak_memory_bytes")
    assert in_unit(memory, load(case("usual"))).unit == "MB"
    large = in_unit(memory, load(case("large models")))
    assert (large.unit, large.scale) == ("GB", 1e-9)


def test_a_setting_is_told_by_its_threads_and_by_what_differs(tmp_path):
    one, two = ("1", "bf16", "1", "cpu"), ("2", "fp32", "1", "cpu")
    assert setting_text(one, [one]) == "1 thread"
    assert setting_text(two, [one, two]) == "2 threads, fp32"
    many = ("1", "bf16", "4", "cuda")
    assert setting_text(many, [one, many]) == "1 thread, 4 processes, cuda"
    assert setting_text(("", "", "", ""), [("", "", "", "")]) == "threads unknown"
    study = write_study(tmp_path, lines=6, threads={7: 2})
    assert [setting[0] for setting in settings(load(study))] == ["1", "2"]


def test_a_study_of_one_size_and_no_growth_draws(tmp_path):
    study = write_study(tmp_path, lines=6)
    loaded = load(study)
    alone = type(loaded)(loaded.name, loaded.runs[:1], {"fits": []}, loaded.runs_root)
    assert built(alone).legends == []
