"""The verbs predict and allocate: files in, numbers out, or one sentence and nothing written."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.laws import command_allocate, command_predict, published


def call(verb, *words) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args([str(word) for word in words]))


def noisy() -> pd.DataFrame:
    """Four sizes times four numbers of tokens, 0.3% off the law."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e8, 4), np.geomspace(2e7, 2e9, 4)))
    loss = 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28
    loss = loss * np.exp(np.random.default_rng(4).normal(0, 3e-3, 16))
    return pd.DataFrame({"N": n, "D": d, "loss_nats": loss})


@pytest.fixture(scope="module")
def fitted() -> laws.FitResult:
    return laws.fit("chinchilla", noisy())


@pytest.fixture
def stored(fitted, tmp_path: Path) -> Path:
    """A fit's JSON as `scalelab fit --json` writes it."""
    path = tmp_path / "fit.json"
    write_json(path, fitted.to_json())
    return path


def test_a_stored_fit_predicts_what_the_fit_predicts(fitted, stored, tmp_path, capsys):
    out, table = tmp_path / "out.json", tmp_path / "out.csv"
    at = ("--at", "N=70B,D=1.4T", "--at", "D=2e9,N=1e8")
    assert call(command_predict, stored, *at, "--json", out, "--csv", table) == 0
    x = np.array([[70e9, 1.4e12], [1e8, 2e9]])
    rows = json.loads(out.read_text(encoding="utf-8"))["predictions"]
    assert [row["predicted_nats"] for row in rows] == list(fitted.predict(x))
    for low, high, new_run in (("low", "high", False), ("run_low", "run_high", True)):
        ends = np.array([[row[low], row[high]] for row in rows])
        assert ends == pytest.approx(fitted.interval(x, new_run), rel=1e-6)
    assert [row["outside_fit"] for row in rows] == [True, False]
    with open(table, encoding="utf-8", newline="") as lines:
        read = list(csv.DictReader(lines))
    assert [float(row["predicted_nats"]) for row in read] == list(fitted.predict(x))
    assert "outside the sizes of the fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name,loss", [("hoffmann2022", 1.93665), ("hoffmann2022-unrounded", 1.92085)]
)
def test_a_file_or_name_is_reproduced_to_its_own_digits(name, loss, tmp_path, capsys):
    path, out = tmp_path / "law.json", tmp_path / "out.json"
    write_json(path, {"law": "chinchilla", "params": published.get(name).params})
    for source in (name, path):
        call(command_predict, source, "--at", "N=70e9,D=1.4e12", "--json", out)
        row = json.loads(out.read_text(encoding="utf-8"))["predictions"][0]
        assert row["predicted_nats"] == pytest.approx(loss, abs=6e-6)
        assert row["low"] is None and row["run_high"] is None
    assert f"{loss:.4f}"[:6] in capsys.readouterr().out


def test_points_of_a_table_are_read_with_its_headers(tmp_path):
    points, out = tmp_path / "points.csv", tmp_path / "out.json"
    points.write_text("name,N,tokens,loss\na,1M,20M,9.1\nb,1e8,2B,\n", encoding="utf-8")
    call(command_predict, "hoffmann2022", "--points", points, "--json", out)
    rows = json.loads(out.read_text(encoding="utf-8"))["predictions"]
    assert [(row["N"], row["D"]) for row in rows] == [(1e6, 2e7), (1e8, 2e9)]
    assert [row["predicted_nats"] for row in rows] == pytest.approx([9.1052, 3.4859], abs=5e-5)


def test_a_fit_of_a_study_is_chosen_by_number_or_law(tmp_path):
    losses = [5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107]
    ladder = pd.DataFrame({"N": [1e5, 3e5, 1e6, 3e6, 1e7, 3e7], "loss_nats": losses})
    fits = [laws.fit(law, ladder).to_json() for law in ("power_offset", "power")]
    path, out = tmp_path / "laws.json", tmp_path / "out.json"
    write_json(path, {"study": "s", "fits": fits, "failed": []})
    for words, law in (([], 0), (["--fit", "2"], 1), (["--law", "power"], 1)):
        call(command_predict, path, "--at", "N=5e8", *words, "--json", out)
        found = json.loads(out.read_text(encoding="utf-8"))
        assert found["law"] == fits[law]["law"]
        assert found["predictions"][0]["predicted_nats"] == laws.predict(fits[law], 5e8)[0]
    with pytest.raises(UserError, match="--fit 3, expected 1 to 2"):
        call(command_predict, path, "--at", "N=5e8", "--fit", "3")
    with pytest.raises(UserError, match="it has power_offset, power"):
        call(command_predict, path, "--at", "N=5e8", "--law", "chinchilla")


def test_a_table_of_runs_is_fitted_first(tmp_path):
    runs, out = tmp_path / "runs.csv", tmp_path / "out.json"
    noisy().rename(columns={"N": "params", "loss_nats": "loss"}).to_csv(runs, index=False)
    words = ("--law", "chinchilla", "--x", "params,D", "--unit", "nats", "--at", "N=1e9,D=2e10")
    call(command_predict, runs, *words, "--json", out)
    row = json.loads(out.read_text(encoding="utf-8"))["predictions"][0]
    true = 1.69 + 406.4 * 1e9**-0.34 + 410.7 * 2e10**-0.28
    assert row["predicted_nats"] == pytest.approx(true, rel=0.05)
    assert row["low"] < row["predicted_nats"] < row["high"]


def test_constants_changed_by_hand_predict_but_have_no_intervals(stored, tmp_path, capsys):
    block = json.loads(stored.read_text(encoding="utf-8"))
    block["params"]["E"] = 1.0
    write_json(stored, block)
    call(command_predict, stored, "--at", "N=1e8,D=2e9")
    said = capsys.readouterr().out
    assert "not those that its points give: no intervals" in said and "[" not in said


@pytest.mark.parametrize(
    "words,said",
    [
        (["hoffman2022", "--at", "N=1e9,D=1e10"], "did you mean 'hoffmann2022'"),
        (["nowhere.csv", "--at", "N=1e9,D=1e10"], "nowhere.csv: no such file"),
        (["nowhere.json", "--at", "N=1e9,D=1e10"], "nowhere.json: no such file"),
        (["hoffmann2022"], "nothing to predict at: expected --at N=1e9,D=1e9"),
        (["hoffmann2022", "--at", "N=1e9"], "--at N=1e9: D is missing, expected N=...,D=..."),
        (["hoffmann2022", "--at", "N=x,D=1"], "--at N=x,D=1, N: found 'x', expected"),
        (["hoffmann2022", "--at", "N=-1,D=1"], "N: found '-1', expected a positive"),
        (["hoffmann2022", "--at", "N=1,D=1,U=2"], "'U' is no x of the law"),
        (["hoffmann2022", "--at", "1e9"], "found '1e9', expected N=...,D=..."),
        (["hoffmann2022", "--points", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_bad_words_are_one_sentence(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        call(command_predict, *words, "--json", "out.json", "--csv", "out.csv")
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content,said",
    [
        ("[]", "expected the JSON of a fit, found a list"),
        ("{}", "key 'law' is missing"),
        ('{"fits": []}', "holds no fit"),
        ('{"law": "chinchilla", "params": {"E": 1}}', "parameter A is None, expected a number"),
        ('{"law": "chinchila", "params": {}}', "did you mean 'chinchilla'"),
        ("{", "expected a JSON file"),
    ],
)
def test_a_file_that_is_no_fit_is_one_sentence(content, said, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        call(command_predict, path, "--at", "N=1e9,D=1e10")
    assert said in str(error.value)


def test_points_without_a_column_or_number_name_it(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("N,E\n1e9,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"points\.csv: column 'D' is missing"):
        call(command_predict, "hoffmann2022", "--points", path)
    path.write_text("N,D\n1e9,1e10\n1e9,many\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"points\.csv, line 3, column 'D': found 'many'"):
        call(command_predict, "hoffmann2022", "--points", path)


def test_allocation_by_a_published_law(tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ("--flops", "1e21", "--flops", "1e22", "--loss", "2.0")
    assert call(command_allocate, "hoffmann2022", *words, "--json", out) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["allocations"]
    assert found[0]["N"] == pytest.approx(1.824217697e9, rel=1e-8)
    assert found[0]["D"] == pytest.approx(1e21 / 6 / found[0]["N"], rel=1e-12)
    assert [one["flops"] for one in found[:2]] == [1e21, 1e22]
    assert found[2]["loss"] == pytest.approx(2.0, abs=1e-9)
    said = capsys.readouterr().out
    assert "all parameters as counted by Hoffmann" in said and "N_opt ~ C^0.4516" in said


def test_allocation_by_a_stored_fit_has_intervals(stored, tmp_path, capsys):
    out = tmp_path / "out.json"
    call(command_allocate, stored, "--flops", "1e18", "--json", out)
    one = json.loads(out.read_text(encoding="utf-8"))["allocations"][0]
    assert "extrapolated: D is 1.0" in capsys.readouterr().out
    for name in ("N", "D", "loss", "tokens_per_parameter"):
        assert one["intervals"][name][0] < one[name] < one["intervals"][name][1]
    call(command_allocate, stored, "--flops", "1e18", "--inference-tokens", "1B", "--json", out)
    served = json.loads(out.read_text(encoding="utf-8"))["allocations"][0]
    assert served["N"] < one["N"] and served["inference_tokens"] == 1e9
    total = served["training_flops"] + 2 * served["N"] * 1e9
    assert total == pytest.approx(1e18, rel=1e-9)
    assert "2 N T" in capsys.readouterr().out


def isoflop_table(column="C") -> pd.DataFrame:
    rows = []
    for flops in (1e18, 1e19, 1e20):
        best = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (flops / 6) ** (0.28 / 0.62)
        for n in best * np.geomspace(1 / 3, 3, 5):
            d = flops / 6 / n
            rows.append((n, d, flops, 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28))
    return pd.DataFrame(rows, columns=["N", "D", column, "loss_nats"])


@pytest.mark.parametrize("column,words", [("C", []), ("flops", ["--budget", "flops"])])
def test_allocation_by_isoflop_profiles(column, words, tmp_path, capsys):
    runs, out = tmp_path / "runs.csv", tmp_path / "out.json"
    isoflop_table(column).to_csv(runs, index=False)
    words = ["--approach", "isoflop", "--flops", "1e19", "--flops", "1e23", *words]
    assert call(command_allocate, runs, *words, "--json", out) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["N_opt"]["exponent"] == pytest.approx(0.28 / 0.62, abs=1e-3)
    assert found["allocations"][0]["outside"] is None
    assert "1e+23 lies outside" in found["allocations"][1]["outside"]
    assert found["convention"].startswith("N: non-embedding parameters")
    assert "3 of 3 budgets have a minimum" in capsys.readouterr().out


def test_allocation_by_the_envelope_of_curves(tmp_path, capsys):
    rows = [
        (f"r{place}", n, d, 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28)
        for place, n in enumerate(np.geomspace(1e6, 1e8, 7))
        for d in n * np.geomspace(1, 300, 20)
    ]
    runs = tmp_path / "curves.csv"
    pd.DataFrame(rows, columns=["run", "N", "D", "loss_nats"]).to_csv(runs, index=False)
    assert call(command_allocate, runs, "--approach", "envelope", "--flops", "1e17") == 0
    said = capsys.readouterr().out
    assert "lower envelope of 7 training curves" in said and "smallest size" in said


@pytest.mark.parametrize(
    "words,said",
    [
        (["hoffmann2022"], "nothing to allocate: expected --flops"),
        (["hoffmann2022", "--flops", "lots"], "--flops lots: found 'lots'"),
        (["hoffmann2022", "--flops", "1e20", "--approach", "iso"], "expected one of parametric"),
        (["kaplan2020-N", "--flops", "1e20"], "law power is one of N"),
        (["runs.csv", "--approach", "isoflop", "--loss", "2"], "answers --flops alone"),
        (["runs.csv", "--approach", "isoflop", "--flops", "1e20"], "runs.csv: 0 of 1 FLOP budgets"),
        (["ray.csv", "--flops", "1e20"], "ray.csv: no allocation, since N and D are one variable"),
        (["hoffmann2022", "--approach", "isoflop", "--flops", "1"], "needs a table of runs"),
    ],
)
def test_what_cannot_be_allocated_is_one_sentence(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(
        {"N": [1e5, 2e5, 4e5, 8e5], "C": 1e15, "loss_nats": [10.8737, 9.4015, 8.3360, 7.6129]}
    ).to_csv("runs.csv", index=False)
    sizes = np.array([1e6, 3e6, 1e7, 3e7, 1e8, 3e8])
    losses = [9.1052, 6.9679, 5.3306, 4.2871, 3.4859, 2.9740]
    pd.DataFrame({"N": sizes, "D": 20 * sizes, "loss_nats": losses}).to_csv("ray.csv", index=False)
    with pytest.raises(UserError) as error:
        call(command_allocate, *words, "--json", "out.json")
    assert said in str(error.value)
    assert not Path("out.json").exists()
