"""Trunks: runs that take their first steps from a shared state end as they would alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scalelab.cli import main
from scalelab.plan.trunks import branch_step, common, trunks
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.run import read_metrics

Spec = Callable[..., dict[str, Any]]
WARMUP = 5


def of_steps(spec: Spec, steps: int, cooldown: int, **training: Any) -> dict[str, Any]:
    """A run of `steps` that shares its trunk."""
    schedule = {"kind": "wsd", "warmup_steps": WARMUP, "cooldown_steps": cooldown, "final": 0.0}
    return spec(steps=steps, schedule={**schedule, "share_trunk": True}, **training)


def call(verb: str, spec: dict[str, Any], corpus: Path, out: Path, *more: str) -> int:
    """One verb of the command line."""
    words = ["--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out)]
    return main([verb, *words, *more])


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and metrics of a finished run, times left out."""
    lines = read_metrics(run / "metrics.jsonl")
    times = ("seconds", "tokens_per_second")
    weights = load_file(run / "checkpoint" / "model.safetensors")
    return weights, [{k: v for k, v in line.items() if k not in times} for line in lines]


def test_runs_from_a_trunk_equal_those_trained_alone_to_the_bit(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    specs = [of_steps(spec, steps, cooldown) for steps, cooldown in ((40, 12), (60, 18), (90, 27))]
    start: list[str] = []
    for one in specs:
        end, out = branch_step(one), tmp_path / "trunk" / f"{branch_step(one)}.state"
        more = ["--steps", str(end), *start]
        assert call("trunk", common(one), corpus_folder, out, *more) == 0
        start = ["--start", str(out)]
        steps = one["training"]["steps"]
        assert call("train", one, corpus_folder, tmp_path / f"branch-{steps}", *start) == 0
        assert call("train", one, corpus_folder, tmp_path / f"alone-{steps}") == 0
        weights, metrics = outcome(tmp_path / f"branch-{steps}")
        expected, lines = outcome(tmp_path / f"alone-{steps}")
        assert metrics == lines
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        result = json.loads((tmp_path / f"branch-{steps}" / "run.json").read_text())
        assert (result["trunk_steps"], result["steps"]) == (end, steps)
    assert json.loads((tmp_path / "alone-90" / "run.json").read_text())["trunk_steps"] == 0


@pytest.mark.parametrize("how", ["other settings", "damaged"])
def test_without_its_trunk_a_run_trains_from_its_own_start(
    spec: Spec, corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    one, state = of_steps(spec, 40, 12), tmp_path / "trunk" / "28.state"
    assert call("trunk", common(one), corpus_folder, state, "--steps", "28") == 0
    run = one if how == "damaged" else of_steps(spec, 40, 12, lr=0.02)
    if how == "damaged":
        state.write_bytes(state.read_bytes()[:-1])
    capsys.readouterr()
    assert call("train", run, corpus_folder, tmp_path / "run", "--start", str(state)) == 0
    told = capsys.readouterr().err
    why = "damaged (checksum differs)" if how == "damaged" else "made by other settings"
    assert f"{state}: {why}" in told and "trained from its own start" in told
    assert json.loads((tmp_path / "run" / "run.json").read_text())["trunk_steps"] == 0


def test_a_run_and_its_trunk_are_judged_alike(spec: Spec, tokens: Any, tmp_path: Path) -> None:
    """One bad batch must not end a trunk whose run it would not end."""
    one = of_steps(spec, 300, 90, batch_tokens=32)

    def trainer(name: str, settings: dict[str, Any]) -> Trainer:
        made = Trainer(settings, tokens, tmp_path / name, name, print, name, trunk_identity="t")
        real = made.stepper._accumulate

        def noisy(*batch: Any) -> float:
            return real(*batch) * (8 if made.done == 51 else 1)

        made.stepper._accumulate = noisy  # type: ignore[method-assign]
        return made

    shared = common(one)
    stretch = {**shared, "training": {**shared["training"], "steps": 120}}
    first, second = trainer("run", one), trainer("trunk", stretch)
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 120)
    assert second.run(1e9, lambda: False).status == "ok"


def test_a_branch_that_was_stopped_goes_on_from_its_own_state(
    spec: Spec, tokens: Any, tmp_path: Path
) -> None:
    one, state = of_steps(spec, 60, 18), tmp_path / "42.state"

    def trainer(name: str, settings: dict[str, Any]) -> Trainer:
        folder = tmp_path / name
        return Trainer(settings, tokens, folder, name, print, name, trunk_identity="trunk")

    shared = common(one)
    trunk = trainer("t", {**shared, "training": {**shared["training"], "steps": 42}})
    trunk.save_trunk(state, trunk.run(1e9, lambda: False))
    first = trainer("b", one)
    with pytest.raises(Exception, match="stopped at step 50"):
        first.run(1e9, lambda: first.done >= 50, state)
    second = trainer("b", one)
    ended = second.run(1e9, lambda: False, state)
    assert (ended.branched_at, ended.resumed_from) == (42, [50])
    straight = trainer("straight", one)
    straight.run(1e9, lambda: False)
    assert torch.equal(second.optimizer.values, straight.optimizer.values)


def test_the_runs_of_a_trunk_that_diverged_end_as_it_did(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    one, state = of_steps(spec, 60, 18, lr=1e4, clip=1e9), tmp_path / "trunk" / "42.state"
    assert call("trunk", common(one), corpus_folder, state, "--steps", "42") == 0
    assert call("train", one, corpus_folder, tmp_path / "branch", "--start", str(state)) == 0
    assert call("train", one, corpus_folder, tmp_path / "alone") == 0
    branch, alone = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in ("branch", "alone")
    )
    assert alone["status"] == "diverged"
    for key in ("status", "reason", "steps", "D"):
        assert branch[key] == alone[key]


def test_a_study_finds_its_trunks_and_what_they_save(spec: Spec) -> None:
    short, long = of_steps(spec, 40, 12), of_steps(spec, 90, 27)
    other = of_steps(spec, 40, 12, lr=0.02)
    alone = spec()
    found = trunks({"a": short, "b": long, "c": other, "d": alone})
    assert [one.branches for one in found] == [{"a": 28, "b": 63}, {"c": 28}]
    assert [(one.ends, one.saved_steps) for one in found] == [([28, 63], 28), ([28], 0)]
    assert trunks({"b": long, "a": short})[0].id == found[0].id
