"""Every tracker of the registry, and what the local ones write."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tracking_stubs import track

from scalelab.config.schema import TrackingConfig
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.tracking import trackers
from scalelab.training.run import read_metrics

Spec = Callable[..., dict[str, Any]]


def test_a_study_file_can_name_each_tracker() -> None:
    kinds = TrackingConfig.__dataclass_fields__["kind"].type
    assert sorted(get_args(kinds)) == trackers.names()


@pytest.mark.parametrize("name", trackers.names())
def test_a_tracker_is_imported_only_when_it_is_used(name: str) -> None:
    code = (
        f"import sys; from scalelab.tracking import trackers; trackers.get({name!r}); "
        "print(*{'wandb', 'trackio', 'tensorboard', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", [name for name in trackers.names() if name != "none"])
def test_a_package_that_is_not_there_is_one_warning_that_says_what_to_install(
    results: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, trackers.get(name).package or "", None)
    result = track(results, "--tracker", name)
    assert result["runs"] == []
    (warning,) = result["warnings"]
    assert "is not installed (pip install" in warning
    if name != "wandb":
        assert "'scalelab[trackers]'" in warning


def test_none_writes_nothing(results: Path) -> None:
    result = track(results, "--tracker", "none")
    assert (result["runs"], result["warnings"]) == ([], [])
    assert not (results / "tiny").exists()


def test_an_unknown_tracker_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match="expected one of none, tensorboard, trackio, wandb"):
        trackers.get("mlflow")


def test_tensorboard_reads_what_was_written(results: Path, spec: Spec) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        (row,) = track(results, "--tracker", "tensorboard")["runs"]
    folder = results / "tiny" / "tensorboard" / row["folder"]
    (file,) = folder.iterdir()
    events = EventAccumulator(str(file), {"scalars": 0})
    events.Reload()
    lines = read_metrics(results / "runs" / digest(spec()) / "metrics.jsonl")
    for line in lines:
        line["gigaflops"] = line["flops"] // 1e9
    for tag, axis in (("loss_nats/tokens", "tokens"), ("loss_nats/gigaflops", "gigaflops")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [line[axis] for line in lines]
        assert [value for _, value in found] == pytest.approx([line["loss_nats"] for line in lines])


def test_trackio_reads_what_was_written(results: Path, spec: Spec) -> None:
    """The real package, in a process of its own, since it reads its folder once."""
    pytest.importorskip("trackio")
    words = ["track", "--plan", str(results / "plan.json"), "--runs-root", str(results / "runs")]
    words += ["--folder", str(results / "tiny"), "--out", str(results / "out.json")]
    code = (
        "import sys; from scalelab.cli import main\n"
        f"words = {[*words, '--tracker', 'trackio']!r}\n"
        "assert main(words) == main(words) == 0\n"
        "import json, pathlib; path = pathlib.Path(words[8])\n"
        "told = json.loads(path.read_text())\n"
        "assert told['warnings'] == [], told\n"
        # Written anew, as for a run that has changed.
        "ledger = pathlib.Path(words[6]) / 'trackio' / 'logged.json'\n"
        "ledger.write_text('{}'); assert main(words) == 0\n"
        "from trackio.sqlite_storage import SQLiteStorage as storage\n"
        "name = told['runs'][0]['trackio_id']\n"
        "assert storage.get_runs('scalelab') == [name], storage.get_runs('scalelab')\n"
        "print(*(row['step'] for row in storage.get_logs('scalelab', name)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert [int(word) for word in done.stdout.split()] == list(range(1, 61))
