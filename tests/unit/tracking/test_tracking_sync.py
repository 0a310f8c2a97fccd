"""`scalelab sync`: each run is sent exactly once, also when it is interrupted anywhere."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_stubs import KEY, Copy, calls, false_cli, several, stub, track

from scalelab.cli import main
from scalelab.files import digest, read_json, write_json

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def study(results: Path, spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of three runs that were logged offline, with logs for the false W&B to send."""
    made: list[Copy] = []
    with monkeypatch.context() as patch:
        stub(patch, lambda **settings: Copy(made, **settings))
        several(results, digest(spec()))
        track(results)
    folder = results / "tiny"
    shutil.copy(results / "plan.json", folder)
    shutil.copy(results / "tracking.json", folder)
    for copy in made:
        name = copy.settings["id"]
        (Path(copy.dir).parent / f"run-{name}.wandb").write_text(name)
    return folder


@pytest.fixture
def server(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a false server."""
    return false_cli(monkeypatch, tmp_path)


def sync(study: Path) -> "subprocess.CompletedProcess[str]":
    """The verb in a process of its own, which may be killed."""
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "scalelab", "sync", "--study", str(study)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def names(study: Path) -> list[str]:
    """Ids of the runs of the study, as W&B knows them."""
    return [f"tiny-{item['id']}" for item in read_json(study / "plan.json")["runs"]]


def test_each_run_is_sent_once(
    study: Path, server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "--study", str(study), "--dry-run"]) == 0
    assert "3 of 3 runs would be uploaded; nothing was sent" in capsys.readouterr().out
    assert calls(server) == []
    assert main(["sync", "--study", str(study)]) == 0
    assert calls(server) == names(study)
    assert capsys.readouterr().out.endswith(": 3 runs uploaded, 0 were there already\n")
    assert main(["sync", "--study", str(study)]) == 0
    assert calls(server) == names(study)
    assert main(["sync", "--study", str(study), "--dry-run"]) == 0
    assert "0 of 3 runs would be uploaded" in capsys.readouterr().out


def test_a_kill_between_the_upload_and_our_note_sends_nothing_twice(
    study: Path, server: Path
) -> None:
    (server / "kills").touch()
    for already in range(3):
        done = sync(study)
        assert done.returncode == -signal.SIGKILL
        assert calls(server) == names(study)[: already + 1]
    (server / "kills").unlink()
    done = sync(study)
    assert done.returncode == 0, done.stderr
    assert calls(server) == names(study), "what W&B has marked as sent is not sent again"


def test_a_kill_before_the_tracker_marks_an_upload_replaces_it_by_its_id(
    study: Path, server: Path
) -> None:
    (server / "dies").touch()
    assert sync(study).returncode == -signal.SIGKILL
    (server / "dies").unlink()
    assert sync(study).returncode == 0
    assert calls(server) == [names(study)[0], *names(study)]
    assert sorted(path.stem for path in server.glob("*.wandb")) == sorted(
        f"run-{name}" for name in names(study)
    ), "one run an id"


def test_a_refusal_is_one_sentence_and_the_rest_does_not_wait(
    study: Path, server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (server / "refuses").touch()
    assert main(["sync", "--study", str(study)]) == 2
    said = capsys.readouterr().err
    assert "0 runs uploaded, then: W&B refused the upload (api_key not configured" in said
    assert KEY not in said and "Traceback" not in said
    assert len(calls(server)) == 1
    (server / "refuses").unlink()
    assert main(["sync", "--study", str(study)]) == 0
    assert calls(server)[1:] == names(study)


def test_a_damaged_ledger_does_not_stop_it(
    study: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (study / "wandb" / "logged.json").write_text('{"tiny')
    made: list[Copy] = []

    def make(**settings: Any) -> Copy:
        copy = Copy(made, **settings)
        (Path(copy.dir).parent / f"run-{settings['id']}.wandb").write_text(settings["id"])
        return copy

    stub(monkeypatch, make)
    assert main(["sync", "--study", str(study), "--dry-run"]) == 0
    assert made == [], "a dry run writes nothing"
    assert main(["sync", "--study", str(study)]) == 0
    assert len(made) == len(names(study)), "all are written anew"
    assert sorted(calls(server)) == sorted(names(study))


def test_a_refusal_that_ends_with_zero_is_no_upload(
    study: Path, server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (server / "says no").touch()
    assert main(["sync", "--study", str(study)]) == 2
    assert "permission denied" in capsys.readouterr().err
    ledger = read_json(study / "wandb" / "logged.json")
    assert not any(entry["uploaded"] for entry in ledger.values())
    (server / "says no").unlink()
    assert main(["sync", "--study", str(study)]) == 0
    assert all(entry["uploaded"] for entry in read_json(study / "wandb" / "logged.json").values())


def test_the_address_of_a_run_comes_into_the_record(study: Path, server: Path) -> None:
    assert main(["sync", "--study", str(study)]) == 0
    rows = read_json(study / "tracking.json")["runs"]
    assert rows and all(row["uploaded"] for row in rows)
    assert {row["url"] for row in rows} == {
        f"https://wandb.example/us/p/runs/{row['wandb_id']}" for row in rows
    }


def test_a_run_still_at_work_is_left_for_later(
    study: Path, server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = read_json(study / "plan.json")["runs"][-1]["id"]
    (study.parent / "runs" / last / "run.json").unlink()
    assert main(["sync", "--study", str(study)]) == 0
    assert calls(server) == names(study)[:-1]


def test_what_is_no_study_is_one_sentence(
    tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "--study", str(tmp_path)]) == 2
    assert "has no plan.json" in capsys.readouterr().err
    write_json(study / "tracking.json", {"tracker": "tensorboard"})
    assert main(["sync", "--study", str(study)]) == 2
    assert "there is nothing to upload" in capsys.readouterr().err
