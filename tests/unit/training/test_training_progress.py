"""What a job tells while it runs: lines in its log, and progress.json for the other terminal."""

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.files import digest, write_json
from scalelab.provenance import CODE, code_files
from scalelab.training import loop, progress
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.progress import (
    LIVE,
    Progress,
    clock,
    identity,
    is_alive,
    is_done,
    read_state,
)
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
Make = Callable[..., Trainer]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it."""
    value = [100.0]
    monkeypatch.setattr("scalelab.training.progress.time.monotonic", lambda: value[0])
    monkeypatch.delenv(LIVE, raising=False)
    return value


def test_a_line_is_shown_every_few_seconds_only(now: list[float]) -> None:
    lines: list[str] = []
    one = Progress(lines.append, "d8-s1", 200)
    for step in range(1, 21):
        now[0] += 1.0
        one.show(step, 4.0, 12_345.0, 125.4)
    assert len(lines) == 4
    assert lines[0] == "d8-s1: step 5/200 (2%), loss 4.000 nats, 12,345 tokens/s, 2:05 left"
    assert not any("\r" in line or "\n" in line or "\x1b" in line for line in lines)


def test_the_log_of_a_long_run_stays_readable(now: list[float]) -> None:
    """Two days of steps of a second: a line a minute in the end."""
    lines: list[str] = []
    one = Progress(lines.append, "d8-s1", 172_800)
    for step in range(1, 172_801):
        now[0] += 1.0
        one.show(step, 4.0, 1.0, 1.0)
    assert 2_880 <= len(lines) <= 3_000


def test_what_takes_long_to_write_is_written_rarely(
    now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes half a second: at most about a quarter percent of the time goes there."""
    written: list[float] = []

    def slow(*_: Any) -> None:
        now[0] += 0.5
        written.append(now[0])

    monkeypatch.setattr("scalelab.training.progress.os.replace", slow)
    one = Progress(lambda _: None, "d8-s1", 200, tmp_path / "progress.json")
    began = now[0]
    while now[0] < began + 2_000:
        now[0] += 0.1
        if one.due():
            one.show(1, 4.0, 1.0, 1.0)
    assert len(written) * 0.5 <= 0.0035 * (now[0] - began)


def test_a_process_that_reports_nothing_is_never_due(now: list[float]) -> None:
    one = Progress(lambda _: None, "d8-s1", 200)
    now[0] += 1_000
    assert not one.due()


def tell_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write progress at each step."""
    monkeypatch.setattr(progress, "FILE_SECONDS", -1.0)
    monkeypatch.setattr(progress, "WORTH", -1.0)


def test_a_run_writes_where_it_is_and_takes_the_file_away_at_its_end(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_always(monkeypatch)
    seen: list[dict[str, Any]] = []
    folder = tmp_path / "runs" / digest(spec())
    replace = os.replace

    def look(source: Any, target: Any) -> None:
        replace(source, target)
        if Path(target).name == progress.FILE:
            seen.append(json.loads(Path(target).read_text()))
            assert is_alive(read_state(folder))

    monkeypatch.setattr("scalelab.training.progress.os.replace", look)
    train(spec(), corpus_folder, folder, 1, lambda _: None)
    # Once before the state is looked for, once when it is known where the run begins.
    assert [state["step"] for state in seen] == [0, *range(61)]
    last = seen[-1]
    assert (last["pid"], last["host"]) == (os.getpid(), identity()["host"])
    assert last["seconds_left"] == 0
    assert last["tokens_per_second"] > 0
    assert last["label"].startswith("N=888 d=8")
    tokens = [point[0] for point in last["curve"]]
    assert tokens == [64 * step for step in range(1, 61)]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [point[1] for point in last["curve"]] == pytest.approx(
        [line["loss_nats"] for line in metrics], abs=1e-4
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "metrics.jsonl",
        "run.json",
    ]


def test_a_run_that_was_stopped_says_so_and_goes_on_with_its_curve(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / digest(spec())
    count = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "ORPHAN_SECONDS", -1.0)
        patch.setattr(loop, "orphaned", lambda: next(count) >= 20)
        with pytest.raises(Interrupted):
            train(spec(), corpus_folder, folder, 1, lambda _: None)
    state = read_state(folder)
    assert state is not None
    assert state["ended"].endswith("stopped at step 20, state saved")
    assert state["failed"] is False
    assert not is_alive(state)

    begun: list[dict[str, Any]] = []
    begin = Progress.begin

    def look(self: Progress, *args: Any) -> None:
        begin(self, *args)
        begun.append(read_state(folder) or {})

    monkeypatch.setattr(Progress, "begin", look)
    train(spec(), corpus_folder, folder, 1, lambda _: None)
    assert [one["step"] for one in begun] == [0, 20], "before and after its state is found"
    assert len(begun[-1]["curve"]) == 20
    assert not any("ended" in one for one in begun)


def test_an_error_is_noted_as_one(spec: Spec, trainer: Make, tmp_path: Path) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the cable was cut")

    one = trainer(spec())
    one.stepper = broken  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        one.run(1e9, lambda: False)
    state = read_state(tmp_path)
    assert state is not None
    assert (state["ended"], state["failed"]) == ("the cable was cut", True)


def test_a_disk_that_takes_no_more_stops_nothing(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_always(monkeypatch)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scalelab.training.progress.os.replace", full)
    assert trainer(spec(steps=10)).run(1e9, lambda: False).status == "ok"


def test_progress_changes_no_loss(
    spec: Spec, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trainer(spec(), folder=tmp_path / "a" / "state").run(1e9, lambda: False)
    tell_always(monkeypatch)
    told = trainer(spec(), folder=tmp_path / "b" / "state").run(1e9, lambda: False)
    losses = [[line["loss_nats"] for line in one.records] for one in (plain, told)]
    assert losses[0] == losses[1]


def test_lines_count_the_runs_of_the_workflow(
    now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "b", "c", "d"]
    live = tmp_path / "study" / "live.json"
    write_json(live, {"runs": [{"id": name} for name in names], "started": 50.0, "again": ["d"]})
    for name in ("a", "d"):
        write_json(tmp_path / "runs" / name / "run.json", {})
    os.utime(tmp_path / "runs" / "d" / "run.json", (1.0, 1.0))  # is trained anew
    for name, state in (("b", identity()), ("c", {**identity(), "born": 1})):
        write_json(tmp_path / "runs" / name / progress.FILE, {"step": 1, **state})
    monkeypatch.setenv(LIVE, str(live))
    lines: list[str] = []
    one = Progress(lines.append, "d8-s1", 200)
    for _ in range(2):
        now[0] += 10
        one.show(5, 4.0, 1.0, 1.0)
        live.write_text("{")  # what cannot be read is left out, later
        now[0] += progress.WORTH
    assert lines[0].startswith("[1/4 done, 1 running] d8-s1: step 5/200")
    assert lines[1].startswith("d8-s1: step 5/200")


def test_a_run_counts_as_done_by_its_last_file(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    assert not is_done({}, folder)
    write_json(folder / "run.json", {})
    assert is_done({}, folder)
    later = {"started": time.time() + 3600, "again": ["a"]}
    assert not is_done(later, folder)
    assert is_done({**later, "again": []}, folder)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (125.4, "2:05"), (3_725, "1:02:05"), (-1, "0:00")]
)
def test_times_are_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("stage", ["train", "trunk"])
def test_a_change_of_what_is_shown_trains_nothing_anew(stage: str) -> None:
    files = code_files(*(entry.format(family="gpt2") for entry in CODE[stage]))
    names = {f"{path.parent.name}/{path.name}" for path in files}
    assert "training/loop.py" in names
    assert "training/progress.py" not in names
