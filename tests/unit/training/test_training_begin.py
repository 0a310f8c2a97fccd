"""Runs that start from a checkpoint: its weights at step 0, exact resume, refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training_distributed import train as in_processes
from test_training_trunk import call

from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.files import file_sha256, read_json
from scalelab.models import build, export, registry
from scalelab.models.checkpoint import load_model
from scalelab.plan.families import Shape
from scalelab.plan.trunks import branch_step, common
from scalelab.training.batches import batches_for
from scalelab.training.begin import fill
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.run import read_metrics, train

Spec = Callable[..., dict[str, Any]]


def begun(spec: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """The specification of a run that starts from a checkpoint."""
    init = {"sha256": file_sha256(checkpoint / "model.safetensors")}
    return {**spec, "training": {**spec["training"], "init": init}}


def quiet(_: str) -> None:
    """Report nothing."""


def test_the_first_loss_is_that_of_the_checkpoint_and_a_resume_loses_nothing(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    checkpoint = trained / "checkpoint"
    settings = begun({**spec(steps=25), "seed": 77}, checkpoint)
    where = {"init": str(checkpoint)}
    whole = train(settings, corpus_folder, tmp_path / "a", 1, quiet, **where)
    model, shape = load_model(trained, read_json(trained / "run.json"), 0)
    tokens = load(corpus_folder).tokens["train"]
    inputs, targets = batches_for(shape, settings["training"], 77, tokens).step(0)
    with torch.no_grad():
        expected = model.losses(inputs, targets).mean().item()
    first = read_metrics(tmp_path / "a" / "metrics.jsonl")[0]
    assert first["loss_nats"] == pytest.approx(expected, abs=1e-5)
    assert expected < 4.5, "random weights have ln 257 = 5.55"
    sha256 = settings["training"]["init"]["sha256"]
    assert whole["init"] == {"from": str(checkpoint), "sha256": sha256}
    assert whole["D"] == 25 * 64, "of this training alone"

    asked = iter([False] * 11 + [True] * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scalelab.training.loop.orphaned", lambda: next(asked))
        patch.setattr("scalelab.training.loop.ORPHAN_SECONDS", 0)
        with pytest.raises(Interrupted):
            train(settings, corpus_folder, tmp_path / "b", 1, quiet, **where)
    again = train(settings, corpus_folder, tmp_path / "b", 1, quiet, **where)
    assert again["resumed_from"]
    one, two = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_start_that_is_good_is_judged_by_guessing(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    """A loss may rise at first, since the optimiser starts anew."""
    settings = spec(steps=40)
    settings["training"] |= {"init": {"sha256": ""}}
    tokens = load(corpus_folder).tokens["train"]
    trainer = Trainer(settings, tokens, tmp_path, "x", quiet, "x")

    def judged(first: float, later: float) -> str | None:
        losses = [first] * 10 + [later] * 10
        trainer.history = [(loss * trainer.batches.predicted, 1.0, 0.0) for loss in losses]
        return trainer._worse_than_at_start()

    assert judged(3.0, 5.0) is None
    assert "loss 6.000 nats is above that of guessing (5.549)" in str(judged(3.0, 6.0))
    del trainer.recipe["init"]
    assert "above step 1 (3.000)" in str(judged(3.0, 5.0))


def test_a_trunk_starts_from_the_checkpoint(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    one = begun(spec(steps=30), trained / "checkpoint")
    one["training"]["schedule"] = {**one["training"]["schedule"], "share_trunk": True}
    more = ("--init", str(trained / "checkpoint"))
    state, steps = tmp_path / "trunk" / "15.state", str(branch_step(one))
    assert call("trunk", common(one), corpus_folder, state, "--steps", steps, *more) == 0
    for name, start in {"alone": (), "branched": ("--start", str(state))}.items():
        assert call("train", one, corpus_folder, tmp_path / name, *more, *start) == 0
    alone, branched = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("alone", "branched"))
    assert [line["loss_nats"] for line in alone] == [line["loss_nats"] for line in branched]
    assert json.loads((tmp_path / "branched" / "run.json").read_text())["trunk_steps"] == 15


@pytest.mark.slow
def test_sharded_processes_start_from_the_checkpoint(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    one = begun(spec(steps=10), trained / "checkpoint")
    more = ("--init", str(trained / "checkpoint"))
    train(one, corpus_folder, tmp_path / "one", 1, quiet, init=more[1])
    expected = [line["loss_nats"] for line in read_metrics(tmp_path / "one" / "metrics.jsonl")]
    two = {**one, "processes": 2, "sharding": True}
    more = (*more, "--processes", "2", "--threads", "2")
    found = in_processes(two, corpus_folder, tmp_path / "two", *more)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[0] < 4.5


@pytest.mark.parametrize("family", [*registry.names(), "hf:gpt_neox"])
def test_each_family_takes_the_weights_that_it_exports(family: str, tmp_path: Path) -> None:
    shape = Shape(family=family, depth=2, width=8, heads=2, context=16, vocab=20)
    model, other = build(shape, 1), build(shape, 2)
    save_file(export(model, shape)[1], tmp_path / "model.safetensors")
    fill(other, shape, tmp_path / "model.safetensors")
    for name, weight in registry.get(family).state(other).items():
        assert torch.equal(weight, registry.get(family).state(model)[name])


def test_files_of_a_base_model_leave_out_the_first_part_of_names(tmp_path: Path) -> None:
    shape = Shape(family="gpt2", depth=2, width=8, heads=2, context=16, vocab=20)
    model, other = build(shape, 1), build(shape, 2)
    weights = export(model, shape)[1]
    short = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    save_file({**short, "h.0.attn.bias": torch.ones(1, 1, 16, 16)}, tmp_path / "w.safetensors")
    fill(other, shape, tmp_path / "w.safetensors")
    assert torch.equal(other.tokens.weight, model.tokens.weight)  # type: ignore[arg-type]
    del short["wte.weight"]
    save_file(short, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"training\.init: .*w\.safetensors: weight .*wte.*missing"):
        fill(other, shape, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"w\.safetensors: expected weights, but"):
        fill(other, shape, tmp_path / "w.safetensors")


def test_what_is_not_the_checkpoint_of_the_run_is_one_sentence(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained / "checkpoint", folder)
    settings = begun(spec(steps=10), folder)

    def attempt(settings: dict[str, Any], init: str | None) -> None:
        train(settings, corpus_folder, tmp_path / "run", 1, quiet, init=init)

    with pytest.raises(UserError, match=r"--init: found none, expected \{'sha256'"):
        attempt(settings, None)
    with pytest.raises(UserError, match="expected none, since the run starts from random weights"):
        attempt(spec(steps=10), str(folder))
    with pytest.raises(UserError, match=r"--init: .*model\.safetensors cannot be read"):
        attempt(settings, str(tmp_path / "nowhere"))

    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    first, second = [*vocabulary][5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(UserError, match=r"found 2 of 257 ids with other tokens in .*tokenizer"):
        attempt(settings, str(folder))

    weights = load_file(folder / "model.safetensors")
    save_file({name: 2 * w for name, w in weights.items()}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"--init: found weights with the SHA-256 .*, expected"):
        attempt(settings, str(folder))


def test_a_model_of_the_hub_is_read_from_the_cache(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub/models--lab--small/snapshots" / commit
    shutil.copytree(trained / "checkpoint", snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    local, named = spec(steps=10), spec(steps=10)
    named["training"] = {**named["training"], "init": {"commit": commit}}
    train(named, corpus_folder, tmp_path / "named", 1, quiet, init="lab/small")
    checkpoint = trained / "checkpoint"
    train(begun(local, checkpoint), corpus_folder, tmp_path / "x", 1, quiet, init=str(checkpoint))
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("named", "x"))
    assert [line["loss_nats"] for line in one] == [line["loss_nats"] for line in two]
    with pytest.raises(UserError, match="lab/other@0123456789ab is not in the cache and cannot be"):
        train(named, corpus_folder, tmp_path / "other", 1, quiet, init="lab/other")


def test_a_private_run_starts_from_the_checkpoint(
    spec: Spec, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("opacus")
    one = begun(spec(steps=20), trained / "checkpoint")
    one["training"]["dp"] = {"epsilon": 8.0, "delta": 1e-5, "clip": 0.1}
    found = train(one, corpus_folder, tmp_path / "a", 1, quiet, init=str(trained / "checkpoint"))
    first = read_metrics(tmp_path / "a" / "metrics.jsonl")[0]
    assert found["status"] == "ok" and found["privacy"]["epsilon"] <= 8
    assert first["loss_nats"] < 4.5, "random weights have ln 257 = 5.55"
