"""What went wrong for others with W&B (cases W01 to W08), by the real library and its own reader.

Here: W01 to W08; W06 of the fit, which has an artifact: test_tracking_fit.py. Training and tracking
are two processes, so W01 shows that training does not know of W&B at all, and the others that what
the second one writes is the local record.
"""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_stubs import (
    KEY,
    calls,
    false_cli,
    logged,
    of_kind,
    records,
    several,
    steps,
    stub,
    track,
    write_plan,
)

from scalelab.cli import main
from scalelab.evaluation.run import evaluate
from scalelab.files import digest, read_json
from scalelab.training import loop
from scalelab.training.loop import Interrupted
from scalelab.training.run import read_metrics, train

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]

NO_NETWORK = """
import socket, sys
from pathlib import Path
def refuse(*_, **__):
    Path({marker!r}).write_text("connected")
    raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def train_and_count(
    folder: Path, corpus: Path, settings: dict[str, Any], env: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """The verb `train` in a process of its own, without a terminal."""
    words = ["train", "--spec", json.dumps(settings), "--corpus", str(corpus)]
    words += ["--out", str(folder), "--threads", "1"]
    return subprocess.run(
        [sys.executable, "-m", "scalelab", *words],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_w01_training_neither_imports_the_tracker_nor_opens_a_connection(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case W01: WANDB_MODE=online, a key, and a W&B that breaks when it is imported."""
    marker, package = tmp_path / "marker", tmp_path / "path"
    package.mkdir()
    (package / "sitecustomize.py").write_text(NO_NETWORK.format(marker=str(marker)))
    for name in ("wandb", "trackio", "tensorboard"):
        text = f"import pathlib; pathlib.Path({str(marker)!r}).write_text({name!r}); raise OSError"
        (package / f"{name}.py").write_text(text)
    env = {
        "PYTHONPATH": os.pathsep.join([str(package), str(ROOT)]),
        "WANDB_MODE": "online",
        "WANDB_API_KEY": KEY,
    }
    folder = tmp_path / "runs" / digest(spec())
    done = train_and_count(folder, corpus_folder, spec(), env)
    assert done.returncode == 0, done.stderr
    assert not marker.exists(), marker.read_text()
    assert len(read_metrics(folder / "metrics.jsonl")) == 60
    assert read_json(folder / "run.json")["status"] == "ok"


def killed_twice(
    folder: Path, corpus: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A run that is stopped at two places and resumed; its run.json."""
    for after in (20, 25):
        count = itertools.count(1)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "ORPHAN_SECONDS", -1.0)
            patch.setattr(loop, "orphaned", lambda count=count, after=after: next(count) >= after)
            with pytest.raises(Interrupted):
                train(settings, corpus, folder, 1, lambda _: None)
    return train(settings, corpus, folder, 1, lambda _: None)


def test_w02_w03_a_resumed_run_is_one_run_with_each_step_once_however_often_it_is_sent(
    results: Path,
    corpus_folder: Path,
    tmp_path: Path,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cases W02 (one id, sent twice) and W03 (own step field, nothing dropped after a resume)."""
    pytest.importorskip("wandb")
    settings = {**spec(), "seed": 77}
    folder = results / "runs" / digest(settings)
    run = killed_twice(folder, corpus_folder, settings, monkeypatch)
    assert run["resumed_from"] == [20, 45]
    score = {"split": "test", "context": 16, "stride": 16}
    evaluate(folder, corpus_folder, score, folder / "eval" / "e.json", 1, lambda _: None)
    write_plan(results, [folder.name])
    result = track(results)
    assert result["warnings"] == []
    found = logged(results, result["runs"][0])
    assert steps(found) == list(range(1, 61)), "each step once, in order, none dropped"
    said = [item["item"]["loss_nats"] for item in of_kind(found, "history")]
    assert said == [line["loss_nats"] for line in read_metrics(folder / "metrics.jsonl")]

    server = false_cli(monkeypatch, tmp_path)
    study = results / "tiny"
    shutil.copy(results / "plan.json", study / "plan.json")
    for _ in range(2):
        assert main(["sync", "--study", str(study)]) == 0
    assert calls(server) == [f"tiny-{folder.name}"]
    (sent,) = server.glob("*.wandb")
    assert steps(records(sent)) == list(range(1, 61))


def test_w04_thirty_jobs_whose_tracker_does_not_start_are_thirty_results(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case W04."""

    def broken(**_: Any) -> None:
        raise TimeoutError("the service did not start in 90 s")

    stub(monkeypatch, broken)
    several(results, digest(spec()), 30)
    assert len(track(results)["warnings"]) == 30
    table = results / "runs.csv"
    words = ["--plan", str(results / "plan.json"), "--runs-root", str(results / "runs")]
    assert main(["collect", *words, "--out", str(table)]) == 0
    with open(table, newline="") as text:
        assert [row["status"] for row in csv.DictReader(text)] == ["ok"] * 30


def test_w05_without_a_key_and_a_terminal_all_is_logged_and_a_key_is_stored_nowhere(
    results: Path, tmp_path: Path
) -> None:
    """Cases W05 (no login) and W06 (nothing in the home folder)."""
    pytest.importorskip("wandb")
    words = ["track", "--plan", "plan.json", "--runs-root", "runs", "--folder", "tiny"]
    clean = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"}
    for env in (clean, {**clean, "WANDB_API_KEY": KEY}):
        done = subprocess.run(
            [sys.executable, "-m", "scalelab", *words, "--out", "tracking.json"],
            cwd=results,
            env={**env, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert KEY not in done.stdout + done.stderr
        assert read_json(results / "tracking.json")["warnings"] == []
        shutil.rmtree(results / "tiny" / "wandb") if env is clean else None
    content = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    assert KEY.encode() not in content
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.slow
def test_w06_many_runs_in_one_process_leak_no_descriptors(results: Path, spec: Spec) -> None:
    """Case W06."""
    pytest.importorskip("wandb")
    if not Path("/proc/self/fd").exists():
        pytest.skip("the system does not tell open files")
    names = several(results, digest(spec()), 50)
    write_plan(results, names[:2])
    track(results)
    before = len(os.listdir("/proc/self/fd"))
    write_plan(results, names)
    assert len(track(results)["runs"]) == 50
    assert len(os.listdir("/proc/self/fd")) <= before


def test_w07_a_folder_that_does_not_exist_on_a_system_without_links(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case W07."""
    pytest.importorskip("wandb")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no symbolic links here")

    monkeypatch.setattr(os, "symlink", refuse)
    assert not (results / "tiny").exists()
    result = track(results)
    assert result["warnings"] == []
    assert len(steps(logged(results, result["runs"][0]))) == 60


def test_w07_a_folder_that_cannot_be_written_to_is_a_warning(results: Path) -> None:
    """Case W07: a file stands where the folder should be."""
    (results / "tiny").write_text("in the way")
    result = track(results)
    assert result["runs"] == []
    assert len(result["warnings"]) == 1
    assert "not logged" in result["warnings"][0]


def test_w08_the_table_has_the_loss_of_the_local_evaluation_to_all_digits(
    results: Path, spec: Spec
) -> None:
    """Case W08: 2,000 logged steps, none lost on the way, and the fit reads none of them."""
    pytest.importorskip("wandb")
    folder = results / "runs" / digest(spec())
    first = read_metrics(folder / "metrics.jsonl")[0]
    lines = [
        {**first, "step": step, "tokens": 64 * step, "loss_nats": 5.0 / step**0.1}
        for step in range(1, 2001)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = track(results)
    found = logged(results, result["runs"][0])
    assert steps(found) == list(range(1, 2001))
    shutil.rmtree(results / "tiny")
    table = results / "runs.csv"
    words = ["--plan", str(results / "plan.json"), "--runs-root", str(results / "runs")]
    assert main(["collect", *words, "--out", str(table)]) == 0
    with open(table, newline="") as text:
        (row,) = csv.DictReader(text)
    score = read_json(folder / "eval" / "e.json")
    assert float(row["loss_nats"]) == score["loss_nats"]
    (summary,) = [s for s in of_kind(found, "summary") if "heldout_loss_nats" in s["update"]]
    assert summary["update"]["heldout_loss_nats"] == score["loss_nats"]
