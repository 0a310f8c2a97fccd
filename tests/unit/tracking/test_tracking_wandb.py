"""The W&B mirror: what it writes by the real library, and that its faults stop nothing."""

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.cli import main
from scalelab.evaluation.run import evaluate
from scalelab.files import digest, read_json, write_json
from scalelab.tracking import wandb_mirror
from scalelab.training.run import read_metrics

Spec = Callable[..., dict[str, Any]]
KEY = "local-0123456789abcdef0123456789abcdef01234567"
LABELS = ("d8-s1", "d16-s1", "d24-s1")


@pytest.fixture
def results(
    trained: Path,
    corpus_folder: Path,
    spec: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A results folder with a plan of one evaluated run, and a key in the environment."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "results"
    folder = root / "runs" / digest(spec())
    shutil.copytree(trained, folder)
    settings = {"split": "test", "context": 16, "stride": 16}
    evaluate(folder, corpus_folder, settings, folder / "eval" / "e.json", 1, lambda _: None)
    write_plan(root, [digest(spec())])
    return root


def write_plan(root: Path, identities: list[str]) -> None:
    """A plan of some runs."""
    runs = [{"id": name, "label": label} for name, label in zip(identities, LABELS, strict=False)]
    write_json(root / "plan.json", {"study": "tiny", "evaluation_id": "e", "runs": runs})


def track(root: Path, *more: str) -> dict[str, Any]:
    """Run the verb and return what it says it did."""
    line = ["track", "--plan", str(root / "plan.json"), "--runs-root", str(root / "runs")]
    line += ["--folder", str(root / "tiny"), "--out", str(root / "tracking.json"), *more]
    assert main(line) == 0
    return read_json(root / "tracking.json")  # type: ignore[no-any-return]


class Copy:
    """Stands for a run of the library: an offline folder, and what was logged into it."""

    def __init__(self, made: list["Copy"], **settings: Any) -> None:
        self.settings, self.lines, self.summary = settings, [], {}  # type: ignore[var-annotated]
        self.steps: list[int] = []
        name = f"offline-run-{len(made)}-{settings['id']}"
        self.dir = str(Path(settings["dir"]) / "wandb" / name / "files")
        Path(self.dir).mkdir(parents=True)
        made.append(self)

    def __enter__(self) -> "Copy":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def define_metric(self, *_: Any, **__: Any) -> None:
        """Nothing is drawn."""

    def log(self, line: dict[str, Any], step: int) -> None:
        """Keep a line."""
        self.lines.append(line)
        self.steps.append(step)


def stub(monkeypatch: pytest.MonkeyPatch, init: Callable[..., Any]) -> None:
    """Put a library whose `init` is that function in W&B's place."""
    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)


def several(root: Path, trained_id: str) -> list[str]:
    """Three runs: the evaluated one and two copies of it."""
    names = [trained_id, "b" * 12, "c" * 12]
    for name in names[1:]:
        shutil.copytree(root / "runs" / trained_id, root / "runs" / name)
    write_plan(root, names)
    return names


def test_the_real_library_writes_a_run_whole_and_once(results: Path, spec: Spec) -> None:
    pytest.importorskip("wandb")
    identity = digest(spec())
    first = track(results)
    assert (first["mode"], first["warnings"]) == ("offline", [])
    (row,) = first["runs"]
    assert row["wandb_id"] == f"tiny-{identity}"
    assert track(results) == first, "a second call logs nothing new"
    (file,) = (results / "tiny" / "wandb").glob("offline-run-*/*.wandb")
    assert file.parent.name == row["folder"]

    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(reader, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (about,) = [item["run"] for item in records if item["type"] == "run"]
    assert about["run_group"] == "tiny"
    assert about["run_id"] == row["wandb_id"]
    assert (about["display_name"], about["job_type"]) == ("d8-s1", "train")
    assert set(about["tags"]) == {"gpt2", "tiny", "ok"}
    config = about["config"]["update"]
    assert config["training"]["lr"] == 0.01
    assert config["seed"] == 1234

    folder = results / "runs" / identity
    history = [item["history"]["item"] for item in records if item["type"] == "history"]
    lines = read_metrics(folder / "metrics.jsonl")
    assert [item["_step"] for item in history] == [line["step"] for line in lines]
    for item, line in zip(history, lines, strict=True):
        assert {name: item[name] for name in line} == pytest.approx(line)
        assert item["loss_nats_by_flops"] == pytest.approx(line["loss_nats"])

    summary: dict[str, Any] = {}
    for item in records:
        if item["type"] == "summary":
            summary |= item["summary"].get("update", {})
    run, score = read_json(folder / "run.json"), read_json(folder / "eval" / "e.json")
    assert summary["N"] == run["counts"]["N"]
    assert (summary["D"], summary["C"]) == (run["D"], run["C"])
    assert summary["heldout_loss_nats"] == score["loss_nats"]
    assert summary["status"] == "ok"
    assert summary["train_seconds"] == run["seconds"]
    assert summary["train_tokens_per_second"] == run["tokens_per_second"]
    assert summary["train_flops_per_second"] == pytest.approx(run["C"] / run["seconds"])
    for name in ("peak_memory_bytes", "checkpoint_bytes", "threads", "precision", "device"):
        assert summary[name] == run[name]
    assert summary["resumed"] == 0
    assert {"mfu", "peak_flops_per_second"} <= set(summary)

    content = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    assert KEY.encode() not in content, "a key stays out of the results"


def test_each_run_is_logged_once_and_again_only_when_it_has_changed(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    names = several(results, digest(spec()))
    first = track(results)
    assert [copy.settings["id"] for copy in made] == [f"tiny-{name}" for name in names]
    assert {copy.settings["mode"] for copy in made} == {"offline"}
    assert {copy.settings["group"] for copy in made} == {"tiny"}
    for copy in made:
        assert copy.steps == [*range(1, 61)]
    assert track(results) == first
    assert len(made) == 3

    path = results / "runs" / names[1] / "eval" / "e.json"
    write_json(path, {**read_json(path), "loss_nats": 1.25})
    track(results)
    assert [copy.settings["id"] for copy in made[3:]] == [f"tiny-{names[1]}"]
    assert made[3].summary["heldout_loss_nats"] == 1.25
    folders = [path.name for path in (results / "tiny" / "wandb").glob("offline-run-*")]
    assert len(folders) == 3, "an upload finds each run once"


def test_a_run_without_a_loss_is_logged_too(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    folder = results / "runs" / digest(spec())
    run = {**read_json(folder / "run.json"), "status": "diverged", "reason": "step 3: words"}
    write_json(folder / "run.json", run)
    nothing = dict.fromkeys(("loss_nats", "perplexity", "bits_per_byte"))
    write_json(folder / "eval" / "e.json", {**read_json(folder / "eval" / "e.json"), **nothing})
    (folder / "metrics.jsonl").write_text("")
    assert track(results)["warnings"] == []
    assert made[0].summary["status"] == "diverged"
    assert made[0].summary["reason"] == "step 3: words"
    assert "diverged" in made[0].settings["tags"]
    assert made[0].summary["heldout_loss_nats"] is None
    assert made[0].steps == []


def test_a_fault_of_the_tracker_is_a_warning_a_run(
    results: Path,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(**_: Any) -> None:
        raise OSError("the service did not start")

    stub(monkeypatch, broken)
    several(results, digest(spec()))
    result = track(results)
    assert result["runs"] == []
    assert result["warnings"] == [
        f"{label}: not logged to W&B (the service did not start)" for label in LABELS
    ]
    assert "Traceback" not in capsys.readouterr().err
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    assert len(track(results)["runs"]) == len(made) == 3, "the next call makes up for it"


def test_a_library_that_is_not_there_is_a_warning(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert len(track(results)["warnings"]) == 1


@pytest.mark.parametrize("way", ["environment", "option"])
def test_disabled_writes_nothing(results: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would be a warning
    if way == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    result = track(results, *(["--mode", "disabled"] if way == "option" else []))
    assert (result["mode"], result["runs"], result["warnings"]) == ("disabled", [], [])
    assert not (results / "tiny").exists()


@pytest.mark.parametrize(
    ("variable", "option", "mode"),
    [
        (None, "offline", "offline"),
        ("", "offline", "offline"),
        ("dryrun", "online", "offline"),
        ("OFFLINE", "online", "offline"),
        ("online", "offline", "online"),
        ("run", "offline", "online"),
    ],
)
def test_the_environment_has_the_last_word(
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    option: str,
    mode: str,
) -> None:
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    sent: list[Path] = []
    monkeypatch.setattr(wandb_mirror, "_upload", sent.append)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert track(results, "--mode", option)["mode"] == mode
    assert {copy.settings["mode"] for copy in made} == {"offline"}, "training waits for no network"
    assert len(sent) == (mode == "online")


def test_what_could_not_be_uploaded_is_uploaded_later_and_not_logged_again(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    several(results, digest(spec()))
    calls: list[list[str]] = []
    answers: list[Any] = []

    def answer(line: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        assert settings["stdin"] == subprocess.DEVNULL, "nobody is asked for a key"
        assert settings["timeout"] == wandb_mirror.UPLOAD_SECONDS
        calls.append(line)
        code = answers.pop(0) if answers else 0
        if code == "late":
            raise subprocess.TimeoutExpired(line, settings["timeout"])
        return subprocess.CompletedProcess(line, code, "", "words\nno network\n" if code else "")

    monkeypatch.setattr(wandb_mirror.subprocess, "run", answer)
    for fault, part in (("late", "did not answer within 120 s"), (1, "(no network)")):
        answers[:] = [fault]
        before = len(calls)
        result = track(results, "--mode", "online")
        assert len(calls) == before + 1, "the others do not wait for the same fault"
        assert len(result["warnings"]) == 1
        assert part in result["warnings"][0]
        assert "upload later with: wandb sync " in result["warnings"][0]
        assert len(result["runs"]) == len(made) == 3
    calls.clear()
    result = track(results, "--mode", "online")
    assert result["warnings"] == []
    assert all(row["uploaded"] for row in result["runs"])
    assert [Path(line[-1]).name for line in calls] == [row["folder"] for row in result["runs"]]
    track(results, "--mode", "online")
    assert len(calls) == len(made) == 3, "nothing is sent twice"
