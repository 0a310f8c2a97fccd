"""A disk that is full: one sentence, nothing half-written, and the same command goes on later."""

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from safetensors import SafetensorError

from scalelab import cli
from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.files import read_json
from scalelab.training import run, state
from scalelab.training.run import read_metrics, train

Spec = Callable[..., dict[str, Any]]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
TIMES = ("seconds", "tokens_per_second")


def outcome(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Weights and metrics of a run, times left out."""
    metrics = read_metrics(run / "metrics.jsonl")
    lines = [{key: line[key] for key in line if key not in TIMES} for line in metrics]
    return (run / "checkpoint" / "model.safetensors").read_bytes(), lines


def refuse_state(patch: pytest.MonkeyPatch) -> None:
    """The third resume state does not fit: its file is opened and takes a part of it."""
    written: list[Any] = []

    @contextmanager
    def opened(path: Path, mode: str) -> Iterator[Any]:
        written.append(path)
        with open(path, mode) as out:
            yield out
            if len(written) == 3:
                out.truncate(1000)
                raise FULL

    patch.setattr(state, "open", opened, raising=False)


def refuse_weights(patch: pytest.MonkeyPatch) -> None:
    """The weights do not fit, as safetensors tells it."""

    def save_file(_: Any, path: Path, **__: Any) -> None:
        path.write_bytes(b"0" * 1000)
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    patch.setattr(safetensors.torch, "save_file", save_file)


def refuse_long_files(patch: pytest.MonkeyPatch) -> None:
    """The system itself takes no more than 4096 bytes of the weights."""
    real = safetensors.torch.save_file

    def save_file(*args: Any, **keywords: Any) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            real(*args, **keywords)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    patch.setattr(safetensors.torch, "save_file", save_file)


def refuse_record(patch: pytest.MonkeyPatch) -> None:
    """The record of the run, its last file, does not fit."""

    def write_json(path: Path, value: Any) -> None:
        if path.name == "run.json":
            raise FULL
        real(path, value)

    real = run.write_json
    patch.setattr(run, "write_json", write_json)


@pytest.mark.parametrize(
    ("refuse", "states", "named", "why"),
    [
        (refuse_state, [1, 2], "run", "No space left on device"),
        (refuse_weights, [18, 19], "run/checkpoint", "No space left on device"),
        (refuse_long_files, [18, 19], "run/checkpoint", "File too large"),
        (refuse_record, [18, 19], "run", "No space left on device"),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_once_there_is_room(
    corpus_folder: Path,
    tmp_path: Path,
    spec: Spec,
    capsys: pytest.CaptureFixture[str],
    refuse: Callable[[pytest.MonkeyPatch], None],
    states: list[int],
    named: str,
    why: str,
) -> None:
    settings, out, log = spec(steps=20), tmp_path / "run", tmp_path / "log"
    train(settings, corpus_folder, tmp_path / "straight", 1, lambda _: None)
    words = ["train", "--spec", json.dumps(settings), "--corpus", str(corpus_folder)]
    words += ["--out", str(out), "--checkpoint-seconds", "0", "--log", str(log)]
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch)
        assert main(words) == 2
    expected = (
        f"{tmp_path / named}: the disk takes no more ({why}); free some space and run the same "
        "command again: the run goes on from its last state\n"
    )
    assert capsys.readouterr().err == f"scalelab train: {expected}"
    assert log.read_text(encoding="utf-8") == expected
    assert [*tmp_path.rglob("*.tmp")] == []
    assert not (out / "run.json").exists()
    found = sorted(path.name for path in (out / "state").iterdir())
    assert found == [f"{step:09d}.state" for step in states]

    assert main(words) == 0
    assert read_json(out / "run.json")["resumed_from"] == [states[-1]]
    assert outcome(out) == outcome(tmp_path / "straight")


def test_an_error_of_safetensors_that_is_none_of_the_system_stays_as_it_is(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_file(*_: Any, **__: Any) -> None:
        raise SafetensorError("header too large")

    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    with pytest.raises(SafetensorError, match="header too large"):
        train(spec(steps=10), corpus_folder, tmp_path / "run", 1, lambda _: None)


def test_a_log_that_takes_no_more_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FULL

    monkeypatch.setattr(cli, "open", full, raising=False)
    words = ["train", "--spec", "{", "--corpus", ".", "--out", str(tmp_path / "run")]
    assert main([*words, "--log", str(tmp_path / "log")]) == 2
    assert "expected JSON" in capsys.readouterr().err
    monkeypatch.setattr("scalelab.training.command.run", full)
    assert main([*words, "--log", str(tmp_path / "log")]) == 2
    assert "the disk takes no more (No space left on device)" in capsys.readouterr().err


def test_another_error_of_the_system_is_not_taken_for_a_full_disk(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(run, "write_metrics", broken)
    words = ["train", "--spec", json.dumps(spec(steps=10)), "--corpus", str(corpus_folder)]
    with pytest.raises(OSError, match="Input/output error") as caught:
        main([*words, "--out", str(tmp_path / "run")])
    assert not isinstance(caught.value, UserError)
