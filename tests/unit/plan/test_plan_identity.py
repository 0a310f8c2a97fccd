"""A run is what it computes: in how many processes is no part of its id, nor of that of a trunk."""

import copy
import dataclasses
from typing import Any

import pytest

from scalelab.config import parse
from scalelab.config.schema import ModelConfig, ScheduleConfig, TrainingConfig
from scalelab.files import digest
from scalelab.plan.identity import result_of
from scalelab.plan.runs import Plan, build

STUDY = {
    "study": "s",
    "ladder": {"widths": [32, 64]},
    "training": {
        "tokens": "1M",
        "schedule": {"kind": "wsd", "warmup_tokens": 100_000, "share_trunk": True},
    },
}


def plan(**compute: Any) -> Plan:
    """The study with large runs from the first one on."""
    return build(parse({**STUDY, "compute": {"large_from": 1, "large_threads": 1, **compute}}))


def test_runs_and_trunks_have_one_id_however_many_processes_train_them() -> None:
    one = plan()
    for more in ({"large_processes": 2}, {"large_processes": 4, "sharding": True}):
        several = plan(**more)
        assert [run.id for run in several.runs] == [run.id for run in one.runs]
        assert [trunk.id for trunk in several.trunks] == [trunk.id for trunk in one.trunks]
        found = [each.spec for each in (*several.runs, *several.trunks)]
        assert {spec["processes"] for spec in found} == {more["large_processes"]}
        assert {spec["sharding"] for spec in found} == {more.get("sharding", False)}
        plain = [each.spec for each in (*one.runs, *one.trunks)]
        assert [result_of(spec) for spec in found] == plain


def test_a_run_of_one_process_has_the_id_of_its_whole_specification() -> None:
    """As before processes were left out: no finished run is trained anew."""
    assert [digest(run.spec) for run in plan().runs] == [run.id for run in plan().runs]
    assert {run.id for run in plan(large_threads=2).runs}.isdisjoint(run.id for run in plan().runs)


LLAMA, MOE = {"model.family": "llama"}, {"model.family": "moe"}
TAUGHT = {"axes": {"training.distil_weight": [0, 0.5]}}
PRIVATE = {"training.dp_epsilon": 8}
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "model.family": ("llama", {}),
    "model.depth": (2, {}),
    "model.heads": (4, {}),
    "model.width": (16, {"ladder.widths": [], "model.width": 32}),
    "model.context": (64, {}),
    "model.mup_base_width": (16, {}),
    "model.kv_heads": (1, LLAMA),
    "model.inner": (24, LLAMA),
    "model.tied": (True, LLAMA),
    "model.band": (8, {"model.family": "gpt3"}),
    "model.experts": (4, MOE),
    "model.active_experts": (1, MOE),
    "training.tokens": (500_000, {}),
    "training.tokens_per_param": (30, {"training.tokens": None, "training.tokens_per_param": 20}),
    "training.unique_tokens": (100_000, {}),
    "training.batch_tokens": (2048, {}),
    "training.lr": (1e-3, {}),
    "training.weight_decay": (0.2, {}),
    "training.beta1": (0.8, {}),
    "training.beta2": ("auto", {}),
    "training.clip": (0.5, {}),
    "training.attention": ("documents", {}),
    "training.precision": ("fp32", {}),
    "training.compile": (True, {}),
    "training.distil_temperature": (2, TAUGHT),
    "training.dp_epsilon": (2, PRIVATE),
    "training.dp_delta": (1e-7, PRIVATE),
    "training.dp_clip": (0.2, PRIVATE),
    "training.checkpoint_activations": (True, {}),
    "training.schedule.kind": ("cosine", {}),
    "training.schedule.warmup": (0.1, {}),
    "training.schedule.warmup_tokens": (50_000, {}),
    "training.schedule.share_trunk": (True, {"training.schedule.warmup_tokens": 50_000}),
    "training.schedule.cooldown": (0.2, {}),
    "training.schedule.final": (0.1, {}),
}
"""Another value for every key of a run, and what must be set for the key to mean something."""
ELSEWHERE = {"training.init", "training.distil_weight", "training.schedule"}
"""Tested in test_plan_starts.py, in test_plan_runs.py, and key by key."""


def test_every_key_of_a_run_is_changed_below() -> None:
    sections = {
        "model": ModelConfig,
        "training": TrainingConfig,
        "training.schedule": ScheduleConfig,
    }
    keys = {f"{name}.{f.name}" for name, kind in sections.items() for f in dataclasses.fields(kind)}
    assert keys - ELSEWHERE == {*CHANGES}


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_of_a_run_changes_its_id(key: str) -> None:
    """Case S04: a setting that is changed is applied, whatever it is."""
    value, needed = CHANGES[key]
    study = {"study": "s", "ladder": {"widths": [32]}, "training": {"tokens": 1_000_000}}
    before, after = (
        {run.id for run in build(parse(copy.deepcopy(study), {**needed, **more})).runs}
        for more in ({}, {key: value})
    )
    teachers = before & after
    assert after - teachers and (needed is TAUGHT or not teachers)
