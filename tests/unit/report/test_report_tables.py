"""Tables and macros agree with runs.csv and laws.json, and are LaTeX that compiles."""

import argparse
import csv
import json
import math
import re

import pytest

from scalelab.figures import load_study
from scalelab.report import command_tables, latex, write_tables


@pytest.fixture(scope="module")
def tables(written, tmp_path_factory):
    study = written(labels={"d16-s1": "a_b & 50%"}, failed={5: "diverged"})
    loaded = load_study(study / "runs.csv", study / "laws.json")
    paths = write_tables(loaded, tmp_path_factory.mktemp("tables"))
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    return loaded, texts


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def macros_of(text):
    return dict(re.findall(r"\\newcommand\{\\scalelab([A-Za-z]+)\}\{(.*)\}\n", text))


def test_macros_match_the_fit(tables):
    study, texts = tables
    fit, macros = study.fits[0], macros_of(texts["numbers.tex"])
    for name, macro in (("E", "E"), ("A", "A"), ("alpha", "Alpha")):
        ends = fit["intervals"][name]
        for key, exact in zip(("", "Low", "High"), (fit["params"][name], *ends), strict=True):
            shown = macros[macro + key]
            places = len(shown.partition(".")[2])
            assert float(shown) == pytest.approx(exact, abs=0.51 * 10**-places)
        digits = float(macros[f"{macro}Error"]) / fit["standard_errors"][name]
        assert digits == pytest.approx(1, abs=0.05)
    tenfold = fit["extrapolation"][-1]
    assert float(macros["TenfoldLoss"]) == pytest.approx(tenfold["predicted_nats"], abs=6e-4)
    assert float(macros["TenfoldLossLow"]) == pytest.approx(tenfold["low"], abs=6e-4)
    assert (macros["Runs"], macros["RunsOk"], macros["Sizes"]) == ("11", "10", "7")
    residual = max(abs(point["residual_relative"]) for point in fit["points"])
    assert macros["LargestResidual"] == rf"{100 * residual:.2f}\%"


def test_macro_names_are_letters_and_every_line_is_a_macro_or_comment(tables):
    for line in tables[1]["numbers.tex"].splitlines():
        assert line.startswith("%") or re.fullmatch(r"\\newcommand\{\\[A-Za-z]+\}\{.+\}", line)


def test_size_table_holds_means_over_seeds(tables):
    study, texts = tables
    rows = rows_of(texts["runs.csv"])
    assert len(rows) == 8
    smallest = [run for run in study.runs if run.size == 10_000]
    losses = [run.number("loss_nats") for run in smallest]
    assert len(losses) == 2
    assert float(rows[0]["loss_nats"]) == pytest.approx(sum(losses) / 2)
    assert float(rows[0]["perplexity"]) == pytest.approx(math.exp(sum(losses) / 2))
    expected = abs(losses[0] - losses[1]) / math.sqrt(2)
    assert float(rows[0]["seed_sd_nats"]) == pytest.approx(expected)
    assert rows[0]["N_total"] == "30480"
    points = {point["N"]: point for point in study.fits[0]["points"]}
    for row in rows:
        if row["loss_nats"]:
            residual = 100 * points[int(row["N"])]["residual_relative"]
            assert float(row["residual_percent"]) == pytest.approx(residual)


def test_failed_size_stays_in_the_tables(tables):
    failed = [row for row in rows_of(tables[1]["runs.csv"]) if row["failed"] == "1"]
    assert len(failed) == 1 and failed[0]["loss_nats"] == "" and failed[0]["seeds"] == "0"
    assert "0 (1 failed) & -- & --" in tables[1]["runs.tex"]


def test_law_table_has_full_precision(tables):
    study, texts = tables
    rows = rows_of(texts["law.csv"])
    assert len(rows) == sum(len(fit["params"]) for fit in study.fits) == 6
    for row, (name, value) in zip(rows, study.fits[0]["params"].items(), strict=False):
        assert row["parameter"] == name and float(row["value"]) == value
        assert [float(row["low"]), float(row["high"])] == study.fits[0]["intervals"][name]


@pytest.mark.parametrize("name", ["runs.tex", "law.tex", "cost.tex"])
def test_latex_table_is_regular_and_says_where_it_comes_from(tables, name):
    text = tables[1][name]
    head = "\n".join(line for line in text.splitlines() if line.startswith("%"))
    for word in ("study example", "ddddeeeeffff", "L = E + A N^-alpha", "95% intervals: Wald"):
        assert word in head
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1]
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(line.count(" & ") == len(columns) - 1 for line in body)
    assert all(line.count("$") % 2 == 0 for line in body)
    order = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert order == sorted(order)
    assert text.count("{") == text.count("}")


def test_special_characters_are_escaped():
    assert latex.escape("50% of a_b & c\n#1 {x} $y$ \\z ~^") == (
        r"50\% of a\_b \& c \#1 \{x\} \$y\$ \textbackslash{}z "
        r"\textasciitilde{}\textasciicircum{}"
    )
    assert latex.comment("one\n\\input{two}") == "% one\n% \\input{two}"


def test_command_writes_all_tables(usual, tmp_path):
    parser = argparse.ArgumentParser()
    command_tables.add_arguments(parser)
    words = ["--runs", str(usual / "runs.csv"), "--laws", str(usual / "laws.json")]
    words += ["--out", str(tmp_path)]
    assert command_tables.run(parser.parse_args(words)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("answers.csv", "answers.tex", "cost.csv", "cost.tex", "law.csv", "law.tex"),
        *("numbers.tex", "runs.csv", "runs.tex"),
    ]
    assert json.loads((usual / "laws.json").read_text())["study"] == "example"
