"""What went wrong for others while training (cases T01 to T11), met by the verbs or the loop.

Here: T01 T02 T04 T06 T07 T08 T09 T11.

Cases whose whole test is elsewhere:

- T01 the first number that is not finite, what a diverged run leaves: test_training_loop.py and
  test_training_command.py
- T02 a best rate at the edge of its sweep: test_laws_checks.py
- T03 micro-batches, T05 a state that is not whole: test_training_loop.py; T03 of every family:
  test_training_families.py
- T10 dropout: test_models_transformers.py; of named models: test_models_named.py
"""

import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from scalelab.cli import main
from scalelab.config import parse
from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.evaluation.run import evaluate, load_model
from scalelab.files import digest, read_json, write_json
from scalelab.plan.runs import Plan, build
from scalelab.training import loop, state
from scalelab.training.loop import Interrupted
from scalelab.training.progress import MANAGER
from scalelab.training.run import read_metrics, train
from scalelab.training.step import Stepper

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]
EVALUATION = {"format": 1, "split": "test", "context": 16, "stride": 16}


def silent(_: str) -> None:
    """Nobody reads the progress."""


def lines(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run, times left out."""
    times = ("seconds", "tokens_per_second")
    found = read_metrics(run / "metrics.jsonl")
    return [{key: line[key] for key in line if key not in times} for line in found]


def of_width(settings: dict[str, Any], width: int) -> dict[str, Any]:
    """A specification at another width."""
    return {**settings, "model": {**settings["model"], "width": width}}


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next runs saved and stopped after so many of their steps."""
    calls = itertools.count(1)
    monkeypatch.setattr(loop, "ORPHAN_SECONDS", -1.0)
    monkeypatch.setattr(loop, "orphaned", lambda: next(calls) >= steps)


def never_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what `stop_after` did."""
    monkeypatch.setattr(loop, "orphaned", lambda: False)


def test_runs_that_failed_are_rows_which_the_fit_leaves_out_by_name(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases T01 (a rate of 10 at width 128; the other rungs finish) and T09 (D is what was seen).

    And a run without memory.
    """

    def without_memory(*_: Any) -> float:
        raise torch.OutOfMemoryError("out of memory")

    good = [of_width(spec(steps=50), width) for width in (8, 16, 32)]
    hot, large = of_width(spec(steps=50, lr=10.0), 128), of_width(spec(steps=50), 64)
    plan: dict[str, Any] = {"evaluation_id": "e", "runs": []}
    for settings in (*good, hot, large):
        folder = tmp_path / digest(settings)
        with monkeypatch.context() as patch:
            if settings is large:
                patch.setattr(Stepper, "_accumulate", without_memory)
            train(settings, corpus_folder, folder, 1, silent)
        evaluate(folder, corpus_folder, EVALUATION, folder / "eval" / "e.json", 1, silent)
        plan["runs"].append({"id": folder.name, "label": f"d{settings['model']['width']}"})
    write_json(tmp_path / "plan.json", plan)
    table, fit = tmp_path / "runs.csv", tmp_path / "fit.json"
    words = ["--plan", str(tmp_path / "plan.json"), "--runs-root", str(tmp_path)]
    assert main(["collect", *words, "--out", str(table)]) == 0
    rows = pd.read_csv(table).set_index("label")
    assert list(rows["status"]) == ["ok", "ok", "ok", "oom", "diverged"]
    assert rows["loss_nats"].notna().tolist() == [True, True, True, False, False]
    assert rows.loc["d64", "reason"] == "step 1: out of memory"
    assert (rows["D"] == rows["steps"] * 64).all()
    steps = rows.loc["d128", "steps"]
    assert str(rows.loc["d128", "reason"]).startswith(f"step {steps}: ") and steps < 50

    fits = ["--fits", '[{"law": "power", "x": "N"}]', "--json", str(fit)]
    assert main(["fit", str(table), *fits]) == 0
    (block,) = read_json(fit)["fits"]
    assert len(block["points"]) == 3
    found = {row["label"]: row["reason"].split(":")[0] for row in block["excluded"]}
    assert found == {"d64": "oom", "d128": "diverged"}


@pytest.mark.parametrize("law", ["power", "chinchilla"])
def test_a_largest_rung_that_is_worse_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], law: str
) -> None:
    """Case T02: widths 128 to 1024 at the one rate 1e-3, each with 20 tokens a parameter."""
    rungs = {128: 4.21, 256: 3.67, 512: 3.29, 724: 3.17, 1024: 3.42}
    rows = [
        {"label": f"d{width}", "N": n, "D": 20 * n, "lr": 1e-3, "loss_nats": loss}
        for width, loss in rungs.items()
        for n in [48 * width**2]
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    assert main(["fit", str(tmp_path / "runs.csv"), "--law", law]) == 0
    told = capsys.readouterr().out
    (line,) = [text for text in told.splitlines() if "loss falls" in text]
    assert line.startswith("  LOOK")
    assert line.endswith("loss does not fall from the size below to d1024 (N 5.033e+07)")


KILLED = """
import os, signal, sys
from scalelab import cli
from scalelab.training import state
from scalelab.training.batches import Batches
save, step = state.save, Batches.step

def save_one(folder, at, content):
    return save(folder, at, content) if at == 50 else 0

def kill(self, number):
    if number == 56:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, number)

state.save, Batches.step = save_one, kill
cli.main(sys.argv[1:])
"""
"""`scalelab`, with one state after step 50 alone and killed in step 57."""


def test_a_run_that_was_killed_sees_the_data_of_one_that_was_not(
    corpus_folder: Path, tmp_path: Path, spec: Spec
) -> None:
    """Case T04: 80 steps that take all but the last of the one epoch, a state at 50, SIGKILL in 57.

    Runs have one epoch, so there is no second order to come to.
    """
    sequences = (len(load(corpus_folder).tokens["train"]) - 1) // 16 // 80
    settings = spec(steps=80, batch_tokens=16 * sequences)
    train(settings, corpus_folder, tmp_path / "straight", 1, silent)
    words = ["train", "--spec", json.dumps(settings), "--corpus", str(corpus_folder)]
    words += ["--out", str(tmp_path / "killed"), "--checkpoint-seconds", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop(MANAGER, None)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr
    assert [path.name for path in tmp_path.glob("killed/state/*")] == ["000000050.state"]

    assert main(words) == 0
    assert read_json(tmp_path / "killed" / "run.json")["resumed_from"] == [50]
    found, expected = lines(tmp_path / "killed"), lines(tmp_path / "straight")
    assert [line["step"] for line in found[50:]] == [*range(51, 81)]
    assert found == expected
    one, other = (
        (tmp_path / name / "checkpoint" / "model.safetensors").read_bytes()
        for name in ("killed", "straight")
    )
    assert one == other


def leaves(value: Any) -> Iterator[Any]:
    """The values in nested mappings and lists."""
    if isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_a_state_holds_tensors_and_plain_values_and_weights_stay_in_fp32(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases T06 (a state opens with torch's strict reading) and T11 (whatever the precision)."""
    settings, out = spec(steps=30, precision="bf16"), tmp_path / "run"
    stop_after(20, monkeypatch)
    with pytest.raises(Interrupted):
        train(settings, corpus_folder, out, 1, silent)
    content = (out / "state" / "000000020.state").read_bytes()[state.DIGEST_BYTES :]
    held = [*leaves(torch.load(io.BytesIO(content), weights_only=True))]
    assert {type(value) for value in held} <= {torch.Tensor, int, float, str, bool, type(None)}
    dtypes = [value.dtype for value in held if isinstance(value, torch.Tensor)]
    assert len(dtypes) == 5
    assert set(dtypes) == {torch.float32, torch.float64}, "float64: losses and times of the steps"

    never_stop(monkeypatch)
    result = train(settings, corpus_folder, out, 1, silent)
    assert result["resumed_from"] == [20]
    assert (result["precision"], result["weights"]) == ("bf16", "float32")
    assert read_json(out / "run.json")["weights"] == "float32"
    assert read_json(out / "checkpoint" / "config.json")["dtype"] == "float32"
    weights = load_file(out / "checkpoint" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert any(not torch.equal(t, t.bfloat16().float()) for t in weights.values())

    short = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(short, out / "checkpoint" / "model.safetensors")
    (out / "checkpoint" / "sums.json").unlink()
    model, _ = load_model(out, result, 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_state_of_another_budget_is_not_taken_up(
    corpus_folder: Path, tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case T07: a cosine to 10% of its peak over 48 steps, called for again with 96.

    The run starts anew and says so; nor do the states of later steps push out its own.
    """
    schedule = {**spec()["training"]["schedule"], "kind": "cosine", "cooldown_steps": 0}
    schedule["final"] = 0.1
    short, long = (spec(steps=steps, schedule=schedule) for steps in (48, 96))
    out, notes = tmp_path / "run", list[str]()

    def call(settings: dict[str, Any]) -> dict[str, Any]:
        notes.clear()
        return train(settings, corpus_folder, out, 1, notes.append, "d8-s1", 0)

    assert call(short)["status"] == "ok"
    rates = {line["step"]: line["lr"] for line in lines(out)}
    assert rates[48] == pytest.approx(0.1 * 0.01), "the last step has its rate in the metrics"
    (out / "run.json").unlink()

    stop_after(24, monkeypatch)
    with pytest.raises(Interrupted):
        call(short)
    stop_after(5, monkeypatch)
    with pytest.raises(Interrupted):
        call(long)
    assert sum("made by other settings, data or code, passed over" in note for note in notes) == 2
    assert not any("taken up again" in note for note in notes)
    found = sorted(path.name for path in (out / "state").iterdir())
    assert found == ["000000004.state", "000000005.state"]

    never_stop(monkeypatch)
    assert call(long)["resumed_from"] == [5]
    rates = {line["step"]: line["lr"] for line in lines(out)}
    assert rates[48] == pytest.approx(0.55 * 0.01, rel=0.05)
    assert rates[96] == pytest.approx(0.1 * 0.01)


def planned(**training: Any) -> Plan:
    """A ladder of three rungs, a batch of 8 x 256 tokens."""
    study: dict[str, Any] = {
        "study": "tiny",
        "corpus": {"packages": ["stdlib"], "tokenizer": "bytes"},
        "model": {"depth": 1, "context": 256},
        "ladder": {"widths": [32, 64, 128]},
        "training": {"batch_tokens": 2048, **training},
    }
    return build(parse(study))


def test_the_tokens_of_a_plan_are_those_of_whole_steps() -> None:
    """Case T09: a million tokens are 488 steps of 2048."""
    for run in planned(tokens="1M").runs:
        assert (run.spec["training"]["steps"], run.tokens) == (488, 999_424)


def test_a_warm_up_that_is_longer_than_a_rung_is_refused_before_training() -> None:
    """Case T08: 1000 steps of warm-up for runs of 488; then for the smallest rung alone."""
    warmup = {"kind": "cosine", "warmup_tokens": 2_048_000}
    with pytest.raises(UserError) as caught:
        planned(tokens="1M", schedule=warmup)
    assert str(caught.value).startswith(
        "training.schedule.warmup_tokens: width 32 (N = 12,768) would warm up for 1000 of its 488 "
        "steps"
    )
    few = {"kind": "wsd", "cooldown": 0.3, "warmup_tokens": 200_000}
    assert len(planned(tokens="1M", schedule=few).runs) == 3
    with pytest.raises(UserError, match=r"width 32 \(N = 12,768\) would warm up for 98 of its 125"):
        planned(tokens_per_param=20, schedule=few)
