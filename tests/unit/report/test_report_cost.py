"""Cost in report and tables: sums over all runs, exponents as fitted, statuses with their step."""

import csv
import html
import json
import re

import pytest

from scalelab.figures import draw, load_study
from scalelab.report import cost, write_report, write_tables

MEASURED = (
    *("seconds", "tokens_per_second", "flops_per_second", "mfu"),
    *("peak_memory_bytes", "checkpoint_bytes"),
)


@pytest.fixture(scope="module")
def study(written):
    """Runs on one and on two threads, one of them diverged, with the figures of the page."""
    folder = written("two thread counts")
    for kind in ("scaling_law", "cost"):
        draw(kind, folder, folder / "figures", formats=("svg",))
    return folder


def load(study):
    return load_study(study / "runs.csv", study / "laws.json")


def rows_of(study):
    with open(study / "runs.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def page_of(study):
    path = write_report(load(study), study / "figures", study / "report.html")
    return html.unescape(path.read_text(encoding="utf-8"))


def test_totals_are_sums_over_all_runs_with_threads_in_core_hours(study):
    rows, sums = rows_of(study), cost.totals(load(study))
    assert sums.seconds == pytest.approx(sum(float(row["seconds"]) for row in rows))
    hours = sum(float(row["seconds"]) * int(row["threads"]) for row in rows) / 3600
    assert sums.core_hours == pytest.approx(hours)
    assert sums.flops == sum(float(row["C"]) for row in rows)
    lost = sum(float(row["seconds"]) for row in rows if row["status"] != "ok")
    assert sums.failed_share == pytest.approx(lost / sums.seconds)


def test_steps_that_runs_share_are_counted_once(study):
    loaded = load(study)
    runs = [run for run in loaded.runs if run.size > 5e4][:3]
    # The shorter trunk lies within the longer one; the third run has a trunk of its own.
    for run, trunk, taken in zip(runs, ("aa", "aa", "bb"), (80, 60, 50), strict=True):
        run.columns.update(trunk=trunk, trunk_steps=str(taken), steps="100")
    assert cost.own_shares(runs) == {
        runs[0].id: 1,
        runs[1].id: pytest.approx(0.4),
        runs[2].id: 1,
    }
    sums = cost.totals(loaded)
    whole = sum(run.number("C") for run in loaded.runs)
    assert sums.shared and sums.flops == pytest.approx(whole - 0.6 * runs[1].number("C"))
    assert not cost.totals(load(study)).shared


def test_processes_count_in_core_hours_and_unknown_threads_give_none(study):
    loaded = load(study)
    before = cost.totals(loaded).core_hours
    for run in loaded.runs:
        run.columns["processes"] = "2"
    assert cost.totals(loaded).core_hours == pytest.approx(2 * before)
    loaded.runs[0].columns["threads"] = ""
    assert cost.totals(loaded).core_hours is None


def test_each_growth_is_a_sentence_with_its_sizes_tokens_and_threads(study):
    item = {
        "column": "seconds",
        "setting": {"threads": 1, "precision": "bf16", "processes": 1},
        "exponent": 0.8312,
        "standard_error": 0.0213,
        "interval": [0.77, 0.89],
        "N": [9872, 150_080],
        "D": [2_500_000, 2_500_000],
    }
    seconds = next(quantity for quantity in cost.QUANTITIES if quantity.column == "seconds")
    assert cost.growth_sentence(seconds, item) == (
        "Training time grows as N^0.831 (standard error 0.021) from N = 9.87k to 150k, each with "
        "2.5M tokens, on 1 thread."
    )
    changed = {
        **item,
        "exponent": -0.02,
        "interval": [-0.1, 0.06],
        "setting": {"threads": 1, "processes": 4},
        "D": [2e5, 3e6],
    }
    assert cost.growth_sentence(seconds, changed) == (
        "Training time does not clearly change with N (exponent \N{MINUS SIGN}0.020, standard "
        "error 0.021) from N = 9.87k to 150k, with 200k to 3M tokens, on 4 processes of 1 thread."
    )
    assert len(cost.growth_sentences(load(study))) == 6


def test_page_tells_cost_with_figure_sentences_and_a_row_a_size(study):
    page = page_of(study)
    section = page.split(">What it costs</h2>")[1].split("<h2")[0]
    assert page.count(">What it costs</h2>") == 1
    assert section.count("<figure") == 1 and page.count("What a run costs: time") == 2
    for sentence in cost.growth_sentences(load(study)):
        assert sentence in section
    assert "core-hours" in section
    for row in rows_of(study):
        assert f">{int(row['N']):,}<" in section
        if row["status"] == "ok" and row["seed"] == "1" and float(row["N"]) > 5e4:
            for text in (
                f"{float(row['seconds']):,.1f}",
                f"{float(row['tokens_per_second']):,.0f}",
                f"{100 * float(row['mfu']):.1f}",
                f"{float(row['peak_memory_bytes']) / 1e6:,.1f}",
                f"{float(row['checkpoint_bytes']) / 1e6:.2f}",
            ):
                assert f"<td>{text}</td>" in section


def test_a_run_that_is_not_ok_is_a_row_with_status_step_and_reason(study):
    page = page_of(study)
    (bad,) = [row for row in rows_of(study) if row["status"] != "ok"]
    assert f"({cost.statuses(load(study))})" in page
    assert cost.statuses(load(study)) == "10 ok, 1 diverged"
    runs = page.split(">Runs</h2>")[1]
    (row,) = re.findall(rf"<tr><th[^>]*>{bad['label']}</th><td>{int(bad['N']):,}.*", runs)
    for text in ("diverged", f"{int(bad['steps']):,}", bad["reason"]):
        assert text in row


def test_a_study_that_measured_no_cost_has_a_page(study, tmp_path):
    laws = json.loads((study / "laws.json").read_text())
    del laws["growth"]
    (tmp_path / "laws.json").write_text(json.dumps(laws))
    rows = [{**row, **dict.fromkeys(MEASURED, "")} for row in rows_of(study)]
    with open(tmp_path / "runs.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    loaded = load_study(tmp_path / "runs.csv", tmp_path / "laws.json")
    page = write_report(loaded, study / "figures", tmp_path / "report.html").read_text()
    assert ">What it costs</h2>" in page
    assert "core-hours" not in page
    macros = next(path for path in write_tables(loaded, tmp_path) if path.name == "numbers.tex")
    assert "CoreHours" not in macros.read_text()


def test_cost_tables_hold_the_means_of_a_size(study, tmp_path):
    paths = {path.name: path for path in write_tables(load(study), tmp_path)}
    with open(paths["cost.csv"], encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == cost.COLUMNS
    smallest = [row for row in rows_of(study) if row["N"] == rows[0]["N"]]
    assert rows[0]["runs"] == "2" and len(smallest) == 2
    for name in ("seconds", "tokens_per_second", "flops_per_second", "mfu", "checkpoint_bytes"):
        mean = sum(float(row[name]) for row in smallest) / 2
        assert float(rows[0][name]) == pytest.approx(mean)
    assert {row["threads"] for row in rows} == {"1", "2"}
    assert [row["failed"] for row in rows if row["seconds"] == ""] == ["1"]
    macros = paths["numbers.tex"].read_text()
    exponent, error = cost.growth_text(load(study).growth["seconds"])
    assert rf"\scalelabGrowthSeconds}}{{\ensuremath{{{exponent}}}}}" in macros
    assert rf"\scalelabGrowthSecondsError}}{{{error}}}" in macros
    assert r"\scalelabCoreHours}" in macros
