"""The W&B mirror: what it writes by the real library, and that its faults stop nothing."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracking_stubs import KEY, Copy, of_kind, records, several, stub, track

from scalelab.files import digest, read_json, write_json
from scalelab.tracking import mirror
from scalelab.tracking.trackers import Upload
from scalelab.tracking.trackers import wandb as of_wandb
from scalelab.training.run import read_metrics

Spec = Callable[..., dict[str, Any]]
LABELS = ("d8-s1", "d16-s1", "d24-s1")


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

    found = records(file)
    (about,) = of_kind(found, "run")
    assert about["run_group"] == "tiny"
    assert about["run_id"] == row["wandb_id"]
    assert (about["display_name"], about["job_type"]) == ("d8-s1", "train")
    size = read_json(results / "runs" / identity / "run.json")["counts"]["N"]
    assert set(about["tags"]) == {"gpt2", f"N~{float(f'{size:.2g}'):.0f}", "ladder", "ok"}
    config = about["config"]["update"]
    assert config["training"]["lr"] == 0.01
    assert config["seed"] == 1234
    assert config["config_hash"] == identity
    assert config["fit"] == "tiny-fit"
    axes = {item.get("name"): item.get("step_metric") for item in of_kind(found, "metric")}
    assert (axes["loss_nats"], axes["loss_nats_by_flops"]) == ("tokens", "flops")

    folder = results / "runs" / identity
    history = [item["item"] for item in of_kind(found, "history")]
    lines = read_metrics(folder / "metrics.jsonl")
    assert [item["_step"] for item in history] == [line["step"] for line in lines]
    for item, line in zip(history, lines, strict=True):
        assert {name: item[name] for name in line} == pytest.approx(line)
        assert item["loss_nats_by_flops"] == pytest.approx(line["loss_nats"])

    summary: dict[str, Any] = {}
    for item in of_kind(found, "summary"):
        summary |= item.get("update", {})
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
        f"{label}: not logged to wandb (the service did not start)" for label in LABELS
    ]
    assert "Traceback" not in capsys.readouterr().err
    made: list[Copy] = []
    stub(monkeypatch, lambda **settings: Copy(made, **settings))
    assert len(track(results)["runs"]) == len(made) == 3, "the next call makes up for it"


def test_a_tracker_that_hangs_is_waited_for_once(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def hangs(**settings: Any) -> None:
        tries.append(settings["id"])
        raise TimeoutError("no answer")

    stub(monkeypatch, hangs)
    monkeypatch.setattr(mirror, "PATIENCE", -1.0)
    several(results, digest(spec()))
    result = track(results)
    assert len(tries) == 1
    assert result["warnings"][1:] == ["the other runs are not tried: each would wait as long"]


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
    monkeypatch.setattr(
        of_wandb,
        "TRACKER",
        replace(of_wandb.TRACKER, upload=lambda path: sent.append(path) or Upload()),
    )
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
        assert settings["timeout"] == of_wandb.UPLOAD_SECONDS
        calls.append(line)
        code = answers.pop(0) if answers else 0
        if code == "late":
            raise subprocess.TimeoutExpired(line, settings["timeout"])
        return subprocess.CompletedProcess(line, code, "", "words\nno network\n" if code else "")

    monkeypatch.setattr(of_wandb.subprocess, "run", answer)
    for fault, part in (("late", "did not answer within 120 s"), (1, "(no network)")):
        answers[:] = [fault]
        before = len(calls)
        result = track(results, "--mode", "online")
        assert len(calls) == before + 1, "the others do not wait for the same fault"
        assert len(result["warnings"]) == 1
        assert part in result["warnings"][0]
        assert "upload later with: scalelab sync --study " in result["warnings"][0]
        assert len(result["runs"]) == len(made) == 3
    calls.clear()
    result = track(results, "--mode", "online")
    assert result["warnings"] == []
    assert all(row["uploaded"] for row in result["runs"])
    assert [Path(line[-1]).name for line in calls] == [row["folder"] for row in result["runs"]]
    track(results, "--mode", "online")
    assert len(calls) == len(made) == 3, "nothing is sent twice"
