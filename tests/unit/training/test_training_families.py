"""Every family through training: stopped and taken up, from a trunk, in processes, to its text."""

import copy
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.evaluation.run import evaluate, load_model
from scalelab.evaluation.samples import can_write, write
from scalelab.files import read_json
from scalelab.models import registry
from scalelab.plan import objectives
from scalelab.plan.families import count, objective
from scalelab.plan.trunks import common
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
CAUSAL = [name for name in registry.names() if objective(name) is objectives.CAUSAL]
FAMILIES = [*registry.names(), "hf:gpt_neox"]
ROOT = Path(__file__).resolve().parents[3]


def of(family: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The specification for another family, of two blocks."""
    return {**spec, "model": {**spec["model"], "family": family, "depth": 2}}


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("attention", ["stream", "documents"])
def test_a_run_ends_in_a_checkpoint_that_scores_and_writes(
    spec: Spec, corpus_folder: Path, tmp_path: Path, family: str, attention: str
) -> None:
    settings = of(family, spec(steps=25))
    if attention == "documents":
        settings["training"]["attention"] = attention
    result = train(settings, corpus_folder, tmp_path / "run", 1, lambda _: None)
    assert result["status"] == "ok"
    assert result["train_loss_nats"] < np.log(257) - 0.2, "it has learned something"
    assert registry.get(family).by_hand or not result["gradients_by_hand"]
    model, shape = load_model(tmp_path / "run", result, 0)
    counts = count(shape)
    assert result["counts"]["N"] == counts.n
    assert result["C"] == result["D"] * counts.training_flops
    assert result["C_6ND"] == 6 * result["D"] * counts.n_active
    held_out = {"format": 1, "split": "test", "context": 16, "stride": 16}
    out = tmp_path / "eval.json"
    score = evaluate(tmp_path / "run", corpus_folder, held_out, out, 1, lambda _: None)
    assert score["loss_nats"] == pytest.approx(result["train_loss_nats"], abs=0.7)
    assert can_write(model)
    written = write(model, [0, 65], 20, 16, 1.0, torch.Generator().manual_seed(1), -1)
    assert len(written) == 20


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_was_stopped_or_branched_off_ends_as_one_in_one_go(
    spec: Spec, tokens: np.ndarray, tmp_path: Path, family: str
) -> None:
    settings = of(family, spec(steps=24))
    settings["training"]["schedule"] |= {"cooldown_steps": 8, "share_trunk": True}

    def trainer(name: str, made: dict[str, Any] = settings) -> Trainer:
        return Trainer(made, tokens, tmp_path / name, name, print, name, trunk_identity="trunk")

    straight = trainer("straight")
    straight.run(1e9, lambda: False)
    first = trainer("stopped")
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 10)
    again = trainer("stopped")
    assert again.run(1e9, lambda: False).resumed_from == [10]
    shared = copy.deepcopy(common(settings))
    shared["training"]["steps"] = 16
    trunk = trainer("trunk", shared)
    trunk.save_trunk(tmp_path / "16.state", trunk.run(1e9, lambda: False))
    branch = trainer("branch")
    assert branch.run(1e9, lambda: False, tmp_path / "16.state").branched_at == 16
    for other in (again, branch):
        assert torch.equal(straight.optimizer.values, other.optimizer.values)


@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batches_change_neither_loss_nor_gradient(
    spec: Spec, tokens: np.ndarray, tmp_path: Path, family: str
) -> None:
    """Case T03: where parts have unlike numbers of tokens with a loss, and a penalty, as well."""
    found = []
    for micro in (8, 3, 1):
        trainer = Trainer(
            of(family, spec(steps=1, batch_tokens=128)), tokens, tmp_path, "one", print, "run"
        )
        trainer.stepper.micro = micro
        trainer.run(1e9, lambda: False)
        found.append((*trainer.history[0][:2], trainer.optimizer.first))
    (loss, norm, whole), *others = found
    for other, its_norm, parts in others:
        assert other == pytest.approx(loss, rel=1e-6)
        assert its_norm == pytest.approx(norm, rel=1e-4)
        assert torch.allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_that_are_computed_again_give_the_same_weights(
    spec: Spec, tokens: np.ndarray, tmp_path: Path, family: str
) -> None:
    """Blocks of moe give a penalty beside their output: it is computed again as well."""
    found = []
    for again in (False, True):
        settings = of(family, spec(steps=8))
        settings["training"]["checkpoint_activations"] = again
        trainer = Trainer(settings, tokens, tmp_path / str(again), "one", print, "run")
        trainer.run(1e9, lambda: False)
        found.append(trainer.optimizer.values)
    assert torch.allclose(*found, atol=1e-6)


PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from scalelab.training.distributed import join
from scalelab.training.loop import Trainer
torch.set_num_threads(1)
world, out = join(torch.device("cpu")), Path(sys.argv[2])
tokens = np.random.default_rng(0).integers(97, 109, size=20_000).astype(np.uint16)
found = {}
for name, spec in json.loads(sys.argv[1]).items():
    trainer = Trainer(spec, tokens, out / name, name, print, name, world)
    trainer.run(1e9, lambda: False)
    weights = torch.cat([p.detach().flatten() for p in trainer.trained().parameters()])
    found[name] = [loss for loss, _, _ in trainer.history], weights.tolist()
if world.first:
    (out / f"{world.size}.json").write_text(json.dumps(found))
world.leave()
"""
"""Trainers of several specifications one after the other, in a process of a world."""


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(spec: Spec, tmp_path: Path) -> None:
    """Of every family, replicated and sharded; started once, since starting is what takes long."""
    specs = {
        f"{family}-{sharding}": {**of(family, spec(steps=12)), "sharding": sharding}
        for family in FAMILIES
        for sharding in (False, True)
    }

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start(rank: int, size: int) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        store = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank)}
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, json.dumps(specs), str(tmp_path)],
            env={**environment, **store, "WORLD_SIZE": str(size)},
            stderr=subprocess.PIPE,
            text=True,
        )

    for size in (1, 2):
        processes = [start(rank, size) for rank in range(size)]
        told = [process.communicate(timeout=300)[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * size, told
    one, two = (read_json(tmp_path / f"{size}.json") for size in (1, 2))
    for name in specs:
        assert two[name][0] == pytest.approx(one[name][0], rel=1e-5), name
        # As a whole: a number whose gradient is rounding alone (a bias of keys) goes its own way.
        mine, theirs = (np.array(found[name][1]) for found in (two, one))
        assert np.linalg.norm(mine - theirs) < 1e-3 * np.linalg.norm(theirs), name
