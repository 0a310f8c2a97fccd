"""What a design asked, on the page and in the tables: with fits, without, and when it failed."""

import csv
import html
import json
import re

import pytest
from example_designs import write_design

from scalelab.figures import draw, load_study
from scalelab.report import write_report, write_tables


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """A function that writes a design with its leading figure, once."""
    written = {}

    def get(name, *kinds):
        if name not in written:
            study = write_design(tmp_path_factory.mktemp("report"), name)
            for kind in kinds:
                draw(kind, study, study / "figures", formats=("svg",))
            written[name] = study
        return written[name]

    return get


def load(study):
    return load_study(study / "runs.csv", study / "laws.json")


def page_of(study):
    (study / "figures").mkdir(exist_ok=True)
    out = write_report(load(study), study / "figures", study / "report.html")
    return html.unescape(out.read_text(encoding="utf-8"))


def answers_of(study):
    return json.loads((study / "laws.json").read_text(encoding="utf-8"))["answers"]


def macros_of(text):
    pairs = re.findall(r"\\newcommand\{\\scalelab([A-Za-z]+)\}\{(.*)\}\n", text)
    return {name: re.sub(r"\\ensuremath\{(.*)\}", r"\1", value) for name, value in pairs}


def test_a_sweep_leads_with_the_rule_and_the_optima(design):
    study = design("sweep", "optimum")
    page, answer = page_of(study), answers_of(study)[0]
    head = page.split("<figure")[0]
    assert f"{answer['rule']['exponent']:.3f}" in head and "in a study file: {value:" in head
    assert "At N = 1.1e+04 the best lr is" in head
    assert page.split("<figure")[1].find('alt="The best value of a setting') > 0
    assert page.count('alt="The best value of a setting') == 1
    assert "Scaling law of the study" not in page and "No law was fitted." in page
    for title in ("The best learning rate", "The best batch (tokens)"):
        assert f">{title}</h2>" in page
    for answer in answers_of(study):
        assert all(text in page for text in answer["warnings"])
    assert "The design cost 192 runs" in page


def test_a_frontier_shows_its_approaches_with_intervals(design):
    study = design("isoflop", "isoflop", "contours")
    page = page_of(study)
    assert ">How to spend compute</h2>" in page
    for one in answers_of(study)[0]["approaches"]:
        low, high = one["N_opt"]["interval"]
        assert f"{one['N_opt']['exponent']:.3f} [{low:.3f}, {high:.3f}]" in page
    assert page.count("<figure") == 2


def test_a_page_needs_no_figure_where_no_law_is_of_one_column(design):
    page = page_of(design("lone sweep"))
    assert "<figure" not in page and ">The best learning rate</h2>" in page


def test_an_answer_that_failed_is_said(design, tmp_path):
    study = design("lone sweep")
    laws = json.loads((study / "laws.json").read_text(encoding="utf-8"))
    laws |= {"answers": [], "failed": [{"answer": "optimum", "axis": "lr", "reason": "a <b> c"}]}
    (tmp_path / "laws.json").write_text(json.dumps(laws), encoding="utf-8")
    loaded = load_study(study / "runs.csv", tmp_path / "laws.json")
    page = write_report(loaded, tmp_path, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "The answer optimum of lr could not be made: a &lt;b&gt; c" in page


def test_tables_hold_the_numbers_of_the_answers(design, tmp_path):
    study = design("sweep", "optimum")
    texts = {
        path.name: path.read_text(encoding="utf-8") for path in write_tables(load(study), tmp_path)
    }
    rows = list(csv.DictReader(texts["answers.csv"].splitlines()))
    macros = macros_of(texts["numbers.tex"])
    for answer, name in zip(answers_of(study), ("Lr", "BatchTokens"), strict=True):
        mine = [row for row in rows if row["axis"] == answer["axis"]]
        found = [row for row in mine if row["quantity"] == "optimum"]
        for row, size in zip(found, answer["sizes"], strict=True):
            assert float(row["value"]) == size["optimum"]
            ends = [float(row[key]) if row[key] else None for key in ("low", "high")]
            assert ends == size["interval"]
        (exponent,) = [row for row in mine if row["quantity"] == "exponent"]
        assert float(exponent["value"]) == answer["rule"]["exponent"]
        shown = float(macros[f"Rule{name}Exponent"])
        assert shown == pytest.approx(answer["rule"]["exponent"], abs=6e-4)
        assert float(macros[f"Rule{name}Value"]) == pytest.approx(answer["rule"]["value"], rel=5e-3)
    assert texts["answers.tex"].count(r"\begin{tabular}") == 2
    assert texts["answers.tex"].count("{") == texts["answers.tex"].count("}")


def test_tables_of_a_frontier_name_the_approach_that_was_not_made(design, tmp_path):
    study = design("grid")
    paths = {path.name: path for path in write_tables(load(study), tmp_path)}
    rows = list(csv.DictReader(paths["answers.csv"].read_text(encoding="utf-8").splitlines()))
    (missing,) = [row for row in rows if row["quantity"] == "not made"]
    assert missing["what"] == "isoflop" and "no IsoFLOP curves" in missing["note"]
    macros = macros_of(paths["numbers.tex"].read_text(encoding="utf-8"))
    assert "ParametricExponent" in macros and "IsoflopExponent" not in macros


def test_kinds_of_sequence_have_a_row_each_in_their_own_unit(design, tmp_path):
    study = design("modalities", "modalities")
    page, answer = page_of(study), answers_of(study)[0]
    assert ">The law of each kind of sequence</h2>" in page
    images = answer["values"][1]
    assert images["unit"] == "bits per pixel" and "<td>bits per pixel</td>" in page
    assert f"On images the loss falls from {images['smallest']:.3g} to " in page
    write_tables(load(study), tmp_path)
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["what"] == "images"]
    found = {row["quantity"]: float(row["value"]) for row in rows}
    assert found["exponent"] == images["exponent"][0]
    assert found["above_floor"] == images["above_floor"]
    assert {row["note"] for row in rows} == {"bits per pixel", "share"}


def test_transfer_has_a_row_for_each_size_and_its_data(design, tmp_path):
    study = design("transfer", "transfer")
    page, answer = page_of(study), answers_of(study)[0]
    assert ">What the checkpoint is worth in data</h2>" in page
    assert "From before a model of N = 11000 has after 20000 tokens the loss that takes" in page
    cells = answer["values"][0]["cells"]
    write_tables(load(study), tmp_path)
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["quantity"] == "transferred"]
    assert len(rows) == len(cells) == 15
    for row, cell in zip(rows, cells, strict=True):
        found = (row["value"], row["low"], row["high"])
        wanted = (cell["transferred"], *cell["transferred_interval"])
        assert [*map(lambda v: float(v or "nan"), found)] == pytest.approx(
            [float("nan") if v is None else v for v in wanted], nan_ok=True
        )
        assert (row["note"] == "") == (cell["bound"] is None)


def test_tasks_have_both_scores_and_what_the_law_predicts(design, tmp_path):
    study = design("tasks", "scaling_law", "tasks")
    page, answer = page_of(study), answers_of(study)[0]
    assert ">What the loss is worth in tasks</h2>" in page
    assert page.count('alt="Tasks: continuous and thresholded scores') == 1
    assert "The accuracy of choice goes from" in page and "cloze: no law" in page
    write_tables(load(study), tmp_path)
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["axis"] == "choice"]
    (gamma,) = [row for row in rows if row["quantity"] == "gamma"]
    law = next(row for row in answer["rows"] if row["task"] == "choice")["law"]
    assert float(gamma["value"]) == law["params"]["gamma"]
    assert [float(gamma[end]) for end in ("low", "high")] == law["intervals"]["gamma"]
    kinds = {row["quantity"] for row in rows if row["what"] == "run"}
    assert kinds == {"accuracy", "margin_nats"}
