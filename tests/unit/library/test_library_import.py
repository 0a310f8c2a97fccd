"""`scalelab import`: tables and logs from elsewhere become a runs.csv that the laws read."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.laws import fit, read_runs
from scalelab.library import importers

Call = Callable[..., tuple[int, str, str]]
E, A, ALPHA = 1.8, 60.0, 0.25
SIZES = (1e5, 3e5, 1e6, 3e6, 1e7, 3e7)


def loss(size: float) -> float:
    """The law that the tables below follow, nats per token."""
    return E + A * size**-ALPHA


def table(path: Path, header: str, rows: list[list[object]]) -> Path:
    """A CSV of text that needs no quotes."""
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def project(path: Path, *more: list[object]) -> Path:
    """What W&B's web page exports: its own columns, config, summary."""
    rows: list[list[object]] = [
        [f"run-{n}", "finished", f"x{n}", 3e-4, f"{size:.0f}", f"{20 * size:.0f}", loss(size), 0.1]
        for n, size in enumerate(SIZES)
    ]
    header = "Name,State,ID,lr,num_params,tokens,eval/loss,train/loss"
    return table(path, header, [*rows, *more])


PROJECT = ["--columns", "N=num_params", "--unit", "nats", "--dataset", "c4"]


def test_a_project_of_wandb_is_fitted_without_its_crashed_runs(
    scalelab: Call, tmp_path: Path
) -> None:
    crashed = ["late", "crashed", "x8", 3e-4, "100000000", "5", "9.5", "9.0"]
    nan = ["odd", "finished", "x9", 3e-4, "100000000", "2000000000", "NaN", ""]
    silent = ["silent", "finished", "x10", 3e-4, "100000000", "2000000000", "", "3"]
    source, out = project(tmp_path / "p.csv", crashed, nan, silent), tmp_path / "runs.csv"
    code, said, notes = scalelab("import", source, "--out", out, *PROJECT)
    assert code == 0
    assert "9 runs, 3 of them not ok" in said
    assert all(name in notes for name in ("'late' is crashed", "'odd' is diverged", "'silent'"))
    runs = read_runs(out)
    assert dict(zip(runs["label"], runs["status"], strict=True)) | {"run-0": "ok"} == {
        **{f"run-{n}": "ok" for n in range(6)},
        "late": "crashed",
        "odd": "diverged",
        "silent": "incomplete",
    }
    found = fit("power_offset", runs)
    assert found.params == pytest.approx({"E": E, "A": A, "alpha": ALPHA}, rel=1e-6)
    assert sorted(item["label"] for item in found.points.excluded) == ["late", "odd", "silent"]
    assert list(runs["D"])[:6] == [20 * size for size in SIZES]
    assert set(runs["dataset"]) == {"c4"}
    assert runs["source"][0] == f"{source}: run-0"
    assert list(runs["id"])[:2] == ["x0", "x1"]
    # A crashed run can be taken in by name.
    scalelab("import", source, "--out", out, *PROJECT, "--accept", "crashed")
    assert list(read_runs(out)["status"]).count("ok") == 7


@pytest.mark.parametrize(
    ("header", "unit", "write"),
    [
        ("loss_bits", None, lambda nats: nats / math.log(2)),
        ("val_loss", "bits", lambda nats: nats / math.log(2)),
        ("ppl", None, math.exp),
        ("loss", "nats", float),
        ("validation/loss", "nats", float),
    ],
)
def test_losses_end_in_nats(
    scalelab: Call, tmp_path: Path, header: str, unit: str | None, write: Callable[[float], float]
) -> None:
    rows: list[list[object]] = [[f"{size / 1e6:g}M", repr(write(loss(size)))] for size in SIZES]
    source = table(tmp_path / "t.csv", f"non_embedding_params,{header}", rows)
    out = tmp_path / "runs.csv"
    words = [*(["--unit", unit] if unit else []), "--dataset", "c4"]
    code, _, notes = scalelab("import", source, "--out", out, *words)
    assert code == 0
    assert "no D" in notes
    runs = read_runs(out)
    assert list(runs["N"]) == pytest.approx(SIZES)
    assert list(runs["loss_nats"]) == pytest.approx([loss(size) for size in SIZES])


def test_a_log_gives_the_last_loss_and_the_tokens_of_its_step(
    scalelab: Call, tmp_path: Path
) -> None:
    rows: list[list[object]] = [
        ["a", 10, "1e5", 0.01, 6.0],
        ["a", 30, "1e5", 0.001, ""],  # trained on, not evaluated
        ["a", 20, "1e5", 0.005, 5.0],
        ["b", 10, "1M", 0.01, 6.0],
        ["b", 40, "1M", 0.0, 4.0],
    ]
    rows.sort(key=lambda row: (str(row[0]), float(str(row[1]))))
    source = table(tmp_path / "log.csv", "run,step,N,lr,val_loss", rows)
    out = tmp_path / "runs.csv"
    words = ["--last", "--unit", "nats", "--dataset", "c4", "--tokens-per-step", "2k"]
    assert scalelab("import", source, "--out", out, *words)[0] == 0
    runs = read_runs(out)
    assert list(runs["loss_nats"]) == [5.0, 4.0]
    assert list(runs["D"]) == [40_000, 80_000]
    assert list(runs["C_6ND"]) == [6 * 1e5 * 4e4, 6 * 1e6 * 8e4]
    assert "lr" not in runs.columns, "what decays is no setting of the run"


def test_settings_that_tell_trials_apart_come_along(scalelab: Call, tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [size, rate, 16, 7, loss(size) + 0.1 * (rate > 1e-3)]
        for size in SIZES
        for rate in (1e-3, 1e-2)
    ]
    source = table(tmp_path / "t.csv", "N,optim.lr,model.heads,note,test_loss_nats", rows)
    out = tmp_path / "runs.csv"
    words = ["--dataset", "c4", "--keep", "note"]
    assert scalelab("import", source, "--out", out, *words)[0] == 0
    runs = read_runs(out)
    assert {"lr", "heads", "note"} <= set(runs.columns)
    found = fit("power_offset", runs)
    assert found.params["E"] == pytest.approx(E), "the best learning rate of each size stands"


def test_the_longest_of_one_run_is_kept(scalelab: Call, tmp_path: Path) -> None:
    again = ["run-0", "finished", "x0", 3e-4, "100000", "1000000", "6.0", "6.0"]
    source, out = project(tmp_path / "p.csv", again), tmp_path / "runs.csv"
    source.write_text(source.read_text().replace("train/loss", "step"))
    code, _, notes = scalelab("import", source, "--out", out, *PROJECT)
    assert (code, "'run-0' is there 2 times" in notes) == (0, True)
    assert len(read_runs(out)) == 6


def test_conditions_choose_among_what_a_source_has(scalelab: Call, tmp_path: Path) -> None:
    source, out = project(tmp_path / "p.csv"), tmp_path / "runs.csv"
    words = [*PROJECT, "--where", "num_params>=1M and label!=run-5"]
    assert scalelab("import", source, "--out", out, *words)[0] == 0
    assert list(read_runs(out)["N"]) == [1e6, 3e6, 1e7]


def test_a_perplexity_that_is_not_exp_of_the_loss_is_said(scalelab: Call, tmp_path: Path) -> None:
    out = tmp_path / "runs.csv"
    for factor, said in ((1.0, False), (1.5, True)):
        rows: list[list[object]] = [[s, loss(s), factor * math.exp(loss(s))] for s in SIZES]
        source = table(tmp_path / "t.csv", "N,loss_nats,perplexity", rows)
        code, _, notes = scalelab("import", source, "--out", out, "--dataset", "c4")
        assert (code, "not exp of the loss" in notes) == (0, said)


GOOD = "N,tokens,loss_nats\n1e5,2e6,5.1\n3e5,6e6,4.3\n"
DATA = ["--dataset", "c4"]
BAD: dict[str, tuple[str, list[str], str]] = {
    "no label": (GOOD, [], "what the losses were measured on"),
    "unit": (GOOD.replace("loss_nats", "loss"), DATA, "does not say its unit"),
    "odd unit": (GOOD, [*DATA, "--unit", "nat"], "--unit: found 'nat'"),
    "other unit": (GOOD, [*DATA, "--unit", "bits"], "holds nats"),
    "no N": (
        GOOD.replace("N,", "params,"),
        DATA,
        "--columns N=NAME, or give --params (found params",
    ),
    "no loss": (GOOD.replace("loss_nats", "train_loss"), DATA, "(found train_loss)"),
    "two losses": (
        GOOD.replace("tokens,loss_nats", "val_loss,test_loss"),
        [*DATA, "--unit", "nats"],
        "both 'val_loss' and 'test_loss'",
    ),
    "two D": (GOOD.replace("N,", "N,n_tokens,", 1).replace("e5,", "e5,7,"), DATA, "could be D"),
    "text": (GOOD.replace("3e5", "big"), DATA, "column 'N': found 'big'"),
    "negative": (GOOD.replace("6e6", "-6"), DATA, "expected a finite number above 0"),
    "perplexity": (GOOD.replace("loss_nats", "ppl").replace("5.1", "0.5"), DATA, "is above 1"),
    "no numbers": (GOOD.replace("5.1", "nan").replace("4.3", ""), DATA, "none of 2 runs ended"),
    "empty": ("", DATA, "is empty"),
    "ragged": (GOOD + "1,2\n", DATA, "2 cells, the header has 3"),
    "none left": (GOOD, [*DATA, "--where", "N>1G"], "no run is left of 2"),
    "where": (GOOD, [*DATA, "--where", "tokns>1"], "did you mean tokens"),
    "target": (GOOD, [*DATA, "--columns", "size=N"], "'size' is unknown"),
    "column": (GOOD, [*DATA, "--columns", "D=tokns"], "did you mean tokens"),
    "pair": (GOOD, [*DATA, "--columns", "N"], "expected pairs"),
    "keep": (GOOD, [*DATA, "--keep", "tokns"], "did you mean tokens"),
    "params": (GOOD, [*DATA, "--params", "large"], "--params: found 'large'"),
    "nothing a step": (GOOD, [*DATA, "--tokens-per-step", "0"], "above 0"),
    "format": (GOOD, [*DATA, "--format", "excel"], "'excel' is unknown, expected csv"),
    "other format": (GOOD, [*DATA, "--format", "trainer"], "holds no trainer_state.json"),
    "no run column": (GOOD, [*DATA, "--last"], "no column tells the runs apart"),
    "empty run": (GOOD.replace("N,", "run,").replace("3e5", ""), [*DATA, "--last"], "line 3"),
    "chart": ("Step,a - eval/loss,a - eval/loss__MIN\n1,5,5\n", DATA, "export of a W&B chart"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(scalelab: Call, tmp_path: Path, case: str) -> None:
    text, words, sentence = BAD[case]
    source = tmp_path / "source.csv"
    source.write_text(text)
    code, out, err = scalelab("import", source, "--out", tmp_path / "runs.csv", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


def test_sources_that_are_none_or_not_alike(scalelab: Call, tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", project(tmp_path / "two.csv")
    one.write_text(GOOD)
    words = ["--out", tmp_path / "runs.csv", *DATA]
    for sources, sentence in (
        ([tmp_path / "none.csv"], "no such file"),
        ([tmp_path / "none.csv", "--format", "csv"], "no such file"),
        ([tmp_path], "is none of the sources"),
        ([one, two], "several kinds (csv and wandb-csv)"),
    ):
        code, _, err = scalelab("import", *sources, *words)
        assert (code, sentence in err) == (2, True), err


def test_every_importer_says_what_it_is() -> None:
    found = importers.importers()
    assert set(found) >= {"csv", "trainer", "wandb", "wandb-csv"}
    for name, one in found.items():
        assert (one.name, bool(one.summary)) == (name, True)
