"""`scalelab runs` list, compare and export on a folder of several studies."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from results_folder import EVALUATION, SIZES, Results

from scalelab.evaluation.collect import collect
from scalelab.files import digest, read_json, write_json
from scalelab.laws import fit, read_runs

Call = Callable[..., tuple[int, str, str]]


def listed(scalelab: Call, results: Results, *words: object) -> list[dict[str, str]]:
    """The rows of `runs list --csv`."""
    code, out, _ = scalelab("runs", "list", "--root", results.root, "--csv", *words)
    assert code == 0
    return list(csv.DictReader(io.StringIO(out)))


def test_each_run_is_one_line_with_all_studies_that_use_it(
    scalelab: Call, results: Results
) -> None:
    rows = listed(scalelab, results)
    assert len(rows) == 6
    assert [int(row["N"]) for row in rows] == sorted(int(row["N"]) for row in rows)
    shared = {row["id"]: row["studies"] for row in rows}
    assert shared[digest(results.spec(16))] == "pair,sizes"
    assert shared[digest(results.spec(48))] == "sizes"
    assert shared[digest(results.spec(16, 0.003))] == ""
    labels = {row["id"]: row["labels"] for row in rows}
    assert labels[digest(results.spec(24))] == "d24-lr0.01,d24-s1"
    folder = results.root / "runs" / rows[0]["id"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert int(rows[0]["bytes"]) == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize(
    ("words", "widths"),
    [
        (["--study", "pair"], [16, 24]),
        (["--unused"], [16]),
        (["--where", "N>3k and N<=6912"], [16, 16, 24]),
        (["--where", "N>3e3", "--where", "N<=6.912k"], [16, 16, 24]),
        (["--where", "training.lr<0.01"], [16]),
        (["--where", "model.width!=16"], [8, 24, 32, 48]),
        (["--where", "studies=pair"], [16, 24]),
        (["--where", "studies=none"], [16]),
        (["--where", "label = d8-s1"], [8]),
        (["--where", "loss_nats >= 3 and status==ok"], [8, 16]),
        (["--status", "diverged"], []),
        (["--where", "mfu>1e9"], []),
    ],
)
def test_filters(
    scalelab: Call, results: Results, words: list[str], widths: list[int] | None
) -> None:
    if widths is None:
        code, out, err = scalelab("runs", "list", "--root", results.root, *words)
        assert (code, out) == (2, "")
        assert "holds numbers" in err
        return
    rows = listed(scalelab, results, *words, "--columns", "width") if widths else []
    assert sorted(int(row["width"]) for row in rows) == widths
    if not widths:
        _, out, _ = scalelab("runs", "list", "--root", results.root, *words)
        assert out == "0 runs, 0 B\n"


def test_order_and_json(scalelab: Call, results: Results) -> None:
    words = ["--root", results.root, "--sort", "loss_nats", "--reverse"]
    _, out, _ = scalelab("runs", "list", *words, "--columns", "loss_nats,studies", "--json")
    rows = json.loads(out)
    losses = [row["loss_nats"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert all(isinstance(row["studies"], list) for row in rows)


def test_a_run_in_progress_is_listed_as_such(scalelab: Call, results: Results) -> None:
    spec = results.spec(64)
    folder = results.root / "runs" / digest(spec)
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "000000040.state").write_bytes(b"whatever")
    (results.root / "runs" / ("f" * 12)).mkdir()
    results.plan("more", {"d64-s1": spec, "d96-s1": results.spec(96)})
    (row,) = listed(scalelab, results, "--study", "more", "--columns", "status,steps,D,N,loss_nats")
    assert (row["status"], row["steps"], row["D"]) == ("unfinished", "40", str(40 * 64))
    assert (int(row["N"]) > 12 * 64**2, row["loss_nats"]) == (True, "")
    _, out, _ = scalelab("runs", "list", "--root", results.root, "--study", "more")
    assert "1 of the study's 2 not begun" in out
    assert len(listed(scalelab, results, "--status", "unfinished")) == 2


def test_a_damaged_run_hides_no_other(scalelab: Call, results: Results) -> None:
    broken, moved = (results.root / "runs" / digest(results.spec(w)) for w in (8, 48))
    (broken / "run.json").write_text('{"id": "half')
    write_json(
        moved / "run.json", read_json(results.root / "runs" / digest(results.spec(16)) / "run.json")
    )
    rows = {row["id"]: row for row in listed(scalelab, results, "--columns", "id,status,reason")}
    assert len(rows) == 6
    assert rows[broken.name]["status"] == rows[moved.name]["status"] == "damaged"
    assert "run.json" in rows[broken.name]["reason"]
    assert digest(results.spec(16)) in rows[moved.name]["reason"]


def test_losses_of_two_evaluations_are_not_mixed_unseen(
    scalelab: Call, results: Results, tmp_path: Path
) -> None:
    name, other = digest(results.spec(48)), "a" * 12
    (results.root / "runs" / name / "eval" / f"{EVALUATION}.json").unlink()
    results.score(name, 9.0, other, "tuning")
    code, _, err = scalelab("runs", "list", "--root", results.root)
    assert code == 0
    assert "do not compare" in err
    out = tmp_path / "runs.csv"
    code, _, err = scalelab("runs", "export", "--root", results.root, "--csv", out)
    assert (code, out.exists()) == (2, False)
    assert "--evaluation" in err
    # A run that has both shows the one asked for.
    results.score(name, 2.0)
    (row,) = listed(scalelab, results, "--where", "width=48", "--evaluation", other)
    assert row["loss_nats"] == "9.0"
    (row,) = listed(scalelab, results, "--where", "width=48")
    assert row["loss_nats"] == "2.0"


def test_compare_shows_what_differs_and_nothing_else(scalelab: Call, results: Results) -> None:
    one, two = digest(results.spec(16)), digest(results.spec(16, 0.003))
    words = ["runs", "compare", "--root", results.root]
    code, out, _ = scalelab(*words, "sizes/d16-s1", two[:6], "--json")
    assert code == 0
    found = json.loads(out)
    assert found["runs"] == [one, two]
    assert found["specification"] == {"training.lr": [0.01, 0.003]}
    losses = [1.8 + 20 * 3072**-0.4, 3.0]
    assert found["result"] == {"loss_nats": losses, "studies": [["pair", "sizes"], []]} | (
        {"bytes": found["result"]["bytes"]} if "bytes" in found["result"] else {}
    )
    _, out, _ = scalelab(*words, one, two)
    assert "training.lr" in out
    assert "model.width" not in out


def test_export_is_what_collect_writes_and_fit_reads(
    scalelab: Call, results: Results, tmp_path: Path
) -> None:
    out = tmp_path / "elsewhere" / "runs.csv"
    words = ["--root", results.root, "--study", "sizes", "--csv", out]
    assert scalelab("runs", "export", *words)[:2] == (0, f"{out}: 5 runs\n")
    table = read_runs(out)
    plan = read_json(results.root / "sizes" / "plan.json")
    own = collect(plan, results.root / "runs")
    assert list(pd.read_csv(out).columns) == list(own.columns)
    for column in ("id", "label", "N", "D", "C", "loss_nats", "lr", "seed", "status"):
        assert list(table[column]) == list(own[column])
    # The truth of the losses: E = 1.8, A = 20, alpha = 0.4.
    assert fit("power_offset", table).params == pytest.approx({"E": 1.8, "A": 20, "alpha": 0.4})
    for where in table["checkpoint"]:
        assert (out.parent / where / "model.safetensors").exists()


def test_export_leaves_out_what_is_no_result_and_says_so(
    scalelab: Call, results: Results, tmp_path: Path
) -> None:
    results.add(results.spec(64), None)  # trained, not evaluated
    results.add(results.spec(72), None, status="diverged", reason="step 3: loss is nan")
    (results.root / "runs" / ("f" * 12) / "state").mkdir(parents=True)
    out = tmp_path / "runs.csv"
    code, said, _ = scalelab("runs", "export", "--root", results.root, "--csv", out)
    assert code == 0
    assert said == f"{out}: 7 runs (left out: 1 unfinished, 1 without a result)\n"
    table = read_runs(out)
    assert list(table["status"]).count("diverged") == 1
    assert len(fit("power_offset", table).points.x) == len(SIZES)


@pytest.mark.parametrize("copied", [False, True])
def test_checkpoints_by_label(
    scalelab: Call, results: Results, tmp_path: Path, copied: bool
) -> None:
    results.plan("other", {"d16-lr0.01": results.spec(16, 0.003)})
    out = tmp_path / "models"
    words = ["--root", results.root, "--checkpoints", out, *(["--copy"] if copied else [])]
    code, _, _ = scalelab("runs", "export", *words, "--where", "width=16")
    assert code == 0
    names = sorted(path.name for path in out.iterdir())
    ids = (digest(results.spec(16)), digest(results.spec(16, 0.003)))
    assert names == sorted(f"d16-lr0.01-{name}" for name in ids), "one label, two runs"
    for path in out.iterdir():
        assert path.is_symlink() is not copied
        assert (path / "model.safetensors").exists()
    assert scalelab("runs", "export", *words, "--study", "sizes")[0] == 0, "replaced"
    assert sorted(p.name for p in out.iterdir()) == sorted(f"d{w}-s1" for w in SIZES)


BAD = {
    "no root": (["list", "--root", "nowhere"], "nowhere: no such folder"),
    "study": (["list", "--study", "size"], "study 'size' has no plan.json"),
    "column near": (["list", "--where", "los_nats>3"], "did you mean loss_nats"),
    "column case": (["list", "--where", "n>3"], "did you mean N"),
    "no operator": (["list", "--where", "N"], "expected column, operator"),
    "no value": (["list", "--where", "N>"], "expected column, operator"),
    "two operators": (["list", "--where", "N=>3"], "expected column, operator"),
    "text": (["list", "--where", "N>big"], "holds numbers"),
    "order of text": (["list", "--where", "status>ok"], "text has no order"),
    "columns": (["list", "--columns", "N,losss_nats"], "did you mean loss_nats"),
    "no columns": (["list", "--columns", ","], "expected names such as"),
    "sort": (["list", "--sort", "size"], "--sort: column 'size' is unknown"),
    "compare one": (["compare", "sizes/d8-s1"], "expected two runs or more"),
    "compare same": (["compare", "sizes/d16-s1", "pair/d16-lr0.01"], "expected two runs or more"),
    "compare near": (["compare", "sizes/d8-s2", "sizes/d16-s1"], "did you mean sizes/d8-s1"),
    "export what": (["export"], "expected --csv FILE or --checkpoints DIR"),
    "export none": (["export", "--status", "oom", "--csv", "x.csv"], "none of the 0 runs"),
    "prune what": (["prune"], "expected what to remove"),
    "prune age": (["prune", "--unused", "--older-than", "-1"], "0 or more"),
    "prune nan": (["prune", "--unused", "--older-than", "nan"], "0 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(
    scalelab: Call, results: Results, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(results.root.parent)
    words, sentence = BAD[case]
    code, out, err = scalelab("runs", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in results.root.parent.iterdir()) == ["results"]


def test_a_prefix_of_several_runs_is_refused_by_their_names(
    scalelab: Call, results: Results
) -> None:
    for name in ("abc000000000", "abc111111111"):
        (results.root / "runs" / name).mkdir()
    code, _, err = scalelab("runs", "compare", "--root", results.root, "abc", "sizes/d8-s1")
    assert code == 2
    assert "stands for 2 runs: abc000000000 (in no plan), abc111111111" in err


def test_checkpoints_replace_no_folder_of_something_else(
    scalelab: Call, results: Results, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("years of work")
    words = ["--root", results.root, "--checkpoints", tmp_path / "notes"]
    code, _, err = scalelab("runs", "export", *words)
    assert code == 2
    assert "thesis.tex" in err
    assert (tmp_path / "notes" / "thesis.tex").read_text() == "years of work"


def test_a_damaged_plan_is_named(scalelab: Call, results: Results) -> None:
    write_json(results.root / "pair" / "plan.json", {"study": "pair"})
    code, _, err = scalelab("runs", "prune", "--root", results.root, "--unused")
    assert code == 2
    assert "pair/plan.json" in err
