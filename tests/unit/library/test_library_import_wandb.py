"""Offline folders that W&B's own library writes are read back as runs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from results_folder import Results

from scalelab.files import digest, read_json
from scalelab.laws import read_runs
from scalelab.library.importers import wandb_offline

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write one offline run into tmp_path/wandb."""
    wandb = pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def write(
        identity: str, config: dict[str, Any], lines: list[dict[str, Any]], code: int
    ) -> None:
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_stats=True
        )
        run = wandb.init(
            mode="offline",
            id=identity,
            name=f"name-{identity}",
            dir=str(tmp_path),
            config=config,
            settings=settings,
            resume="allow",
        )
        for line in lines:
            run.log(line)
        run.finish(exit_code=code)

    return write


@pytest.mark.slow
def test_runs_resumed_and_failed(
    scalelab: Call, tmp_path: Path, written: Callable[..., None]
) -> None:
    config = {"model": {"non_embedding_params": 1000}, "optim": {"lr": 0.01}}
    lines = [
        {"step": step, "tokens": 100 * step, "train/loss": 5.0, "lr": 0.01 / step}
        | ({"eval/loss": 4 - step / 10} if step % 2 == 0 else {})
        for step in range(1, 8)
    ]
    written("one", config, lines[:3], 0)
    written("one", config, lines, 0)
    written("two", config, lines, 1)
    out = tmp_path / "runs.csv"
    words = ["--out", out, "--unit", "nats", "--dataset", "c4"]
    code, _, notes = scalelab("import", tmp_path / "wandb", *words)
    assert code == 0
    assert "'name-one' is there 2 times: the longest is taken" in notes
    assert "'name-two' is failed (exit code 1)" in notes
    runs = read_runs(out).set_index("label")
    assert list(runs.index) == ["name-one", "name-two"]
    one = runs.loc["name-one"]
    assert (one["loss_nats"], one["N"], one["D"], one["lr"]) == (4 - 0.6, 1000, 600, 0.01)
    assert (one["status"], runs.loc["name-two", "status"]) == ("ok", "failed")
    assert "at step 6" in one["loss_from"]

    # A log without its end is that of a run that was killed.
    (log,) = (path for path in wandb_offline.logs(tmp_path / "wandb") if "two" in path.name)
    cut = tmp_path / "cut" / log.name
    cut.parent.mkdir()
    cut.write_bytes(log.read_bytes()[:-60])
    code, _, err = scalelab("import", cut.parent, *words)
    assert (code, "was killed" in err) == (2, True)
    assert scalelab("import", cut.parent, *words, "--accept", "crashed")[0] == 0
    cut.write_bytes(b"hello")
    code, _, err = scalelab("import", cut.parent, *words)
    assert (code, err.count("\n"), str(cut) in err) == (2, 1, True)


def test_the_mirror_of_a_study_comes_back_as_it_was(
    scalelab: Call, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    plan, runs_root = results.root / "pair" / "plan.json", results.root / "runs"
    words = ["--plan", plan, "--runs-root", runs_root, "--folder", results.root / "pair"]
    assert scalelab("track", *words, "--out", tmp_path / "tracking.json")[0] == 0
    out = tmp_path / "runs.csv"
    assert scalelab("import", results.root / "pair", "--out", out)[0] == 0
    runs = read_runs(out).sort_values("N", ignore_index=True)
    for place, width in enumerate((16, 24)):
        run = read_json(runs_root / digest(results.spec(width)) / "run.json")
        row = runs.loc[place]
        assert (row["label"], row["N"]) == (f"d{width}-lr0.01", run["counts"]["N"])
        assert (row["D"], row["C"], row["lr"], row["seed"]) == (run["D"], run["C"], 0.01, 1234)
        assert row["loss_nats"] == 1.8 + 20 * (12 * width**2) ** -0.4


def test_a_reader_that_fails_is_named(
    scalelab: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "run-x.wandb"
    shutil.copy(__file__, log)
    monkeypatch.setattr(wandb_offline.sys, "executable", "/bin/false")
    code, _, err = scalelab("import", log, "--out", tmp_path / "runs.csv")
    assert (code, "W&B's reader failed" in err) == (2, True)
