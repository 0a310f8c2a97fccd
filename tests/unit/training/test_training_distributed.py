"""Data-parallel processes over gloo: the losses of one process, however the work is shared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.training import launch as launcher
from scalelab.training.distributed import World
from scalelab.training.loop import check_shares
from scalelab.training.run import read_metrics

pytestmark = pytest.mark.slow
Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]


def command(spec: dict[str, Any], corpus: Path, out: Path, *more: str) -> list[str]:
    """The verb in a process of its own."""
    words = ["--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out), *more]
    return [sys.executable, "-m", "scalelab", "train", *words]


def environment() -> dict[str, str]:
    """That of this process, with the package found from anywhere."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def train(spec: dict[str, Any], corpus: Path, out: Path, *more: str) -> list[float]:
    """Train in a subprocess: the losses of its lines."""
    done = subprocess.run(
        command(spec, corpus, out, *more), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [line["loss_nats"] for line in read_metrics(out / "metrics.jsonl")]


@pytest.mark.parametrize("sharding", [False, True], ids=["replicated", "sharded"])
def test_two_processes_give_the_losses_of_one(
    spec: Spec, corpus_folder: Path, tmp_path: Path, sharding: bool
) -> None:
    # Seven sequences are four and three; sharded shares must be equal.
    one = spec(steps=30, batch_tokens=96 if sharding else 112)
    expected = train(one, corpus_folder, tmp_path / "one")
    two = {**one, "processes": 2, "sharding": sharding}
    found = train(two, corpus_folder, tmp_path / "two", "--processes", "2", "--threads", "2")
    assert len(found) == 30
    assert found == pytest.approx(expected, abs=1e-5)
    result = json.loads((tmp_path / "two" / "run.json").read_text(encoding="utf-8"))
    assert (result["status"], result["processes"], result["threads"]) == ("ok", 2, 1)
    weights, same = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("two", "one")
    )
    assert {name: w.shape for name, w in weights.items()} == {n: w.shape for n, w in same.items()}
    embedding = "transformer.wte.weight"
    assert torch.allclose(weights[embedding], same[embedding], atol=1e-4)


def test_processes_that_are_terminated_save_together_and_go_on(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    settings = {**spec(steps=80), "processes": 2, "sharding": True}
    out = tmp_path / "run"
    line = command(settings, corpus_folder, out, "--processes", "2", "--checkpoint-seconds", "0.1")
    process = subprocess.Popen(line, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("state/*.state")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 75, told
    assert told.count("state saved") == 1, "the first speaks for all"
    assert not (out / "run.json").exists()
    again = subprocess.run(line, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    result = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert result["status"] == "ok" and len(result["resumed_from"]) == 1
    straight = train(settings, corpus_folder, tmp_path / "straight", "--processes", "2")
    lines = [line["loss_nats"] for line in read_metrics(out / "metrics.jsonl")]
    assert lines == straight, "bitwise as if never stopped"


def test_torchrun_starts_the_same_run(spec: Spec, corpus_folder: Path, tmp_path: Path) -> None:
    one = {**spec(steps=10), "processes": 2}
    expected = train(one, corpus_folder, tmp_path / "own", "--processes", "2")
    words = command(one, corpus_folder, tmp_path / "run", "--processes", "2")[1:]
    runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *runner, *words], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["loss_nats"] for line in lines] == expected


@pytest.mark.parametrize(
    ("vocab", "batch_tokens", "sentence"),
    [
        (300, 64, "the vocabulary has 257 tokens, the model expects 300"),
        (257, 16, "2 processes share batches of 1 sequences, expected at least one for each"),
    ],
    ids=["another vocabulary", "more processes than sequences"],
)
def test_a_mistake_in_several_processes_is_one_sentence_and_exit_code_2(
    spec: Spec, corpus_folder: Path, tmp_path: Path, vocab: int, batch_tokens: int, sentence: str
) -> None:
    settings = spec(batch_tokens=batch_tokens)
    settings["model"]["vocab"] = vocab
    line = command(settings, corpus_folder, tmp_path / "run", "--processes", "2")
    done = subprocess.run(line, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and sentence in done.stderr


@pytest.mark.parametrize("telling", [0, 1])
def test_a_process_that_tells_the_mistake_is_heard_where_another_aborts(
    monkeypatch: pytest.MonkeyPatch, telling: int
) -> None:
    def start(_: object, rank: int, __: int, folder: Path) -> "subprocess.Popen[bytes]":
        if rank != telling:
            return subprocess.Popen([sys.executable, "-c", "import os; os.abort()"])
        with open(folder / f"{rank}.err", "wb") as errors:
            words = "import sys, time; time.sleep(0.3); print('the key', file=sys.stderr); exit(2)"
            return subprocess.Popen([sys.executable, "-c", words], stderr=errors)

    said: list[str] = []
    monkeypatch.setattr(launcher, "_start", start)
    assert launcher.launch([], 2, said.append) == 2
    assert said == ["the key"][:telling], "the first one speaks for itself"


def test_sharded_processes_need_equal_shares() -> None:
    check_shares(7, 2, sharded=False)
    check_shares(8, 2, sharded=True)
    with pytest.raises(UserError, match=r"2 processes share batches of 7 .* a whole number"):
        check_shares(7, 2, sharded=True)


@pytest.mark.parametrize(("rows", "size"), [(8, 2), (7, 3), (3, 3)])
def test_shares_cover_a_batch_once(rows: int, size: int) -> None:
    parts = [list(range(rows))[World(rank, size).share(rows)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_no_process_is_refused(
    spec: Spec, corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(spec(), corpus_folder, tmp_path / "run", "--processes", "0")[3:]
    assert main(words) == 2
    assert "--processes: found 0, expected 1 or more" in capsys.readouterr().err
