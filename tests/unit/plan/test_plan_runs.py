"""A study becomes runs: ids that follow the settings and nothing else, axes, ladders, refusals."""

import copy
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import parse
from scalelab.errors import UserError
from scalelab.plan.command import as_json, as_text
from scalelab.plan.runs import Plan, build

STUDY: dict[str, Any] = {
    "study": "tiny",
    "corpus": {"packages": ["stdlib"], "tokenizer": "bytes"},
    "model": {"depth": 1, "context": 16},
    "ladder": {"widths": [8, 16]},
    "training": {"tokens": 10_000, "batch_tokens": 64},
}


def plan(overrides: dict[str, Any] | None = None) -> Plan:
    """The plan of the small study with some keys replaced."""
    return build(parse(copy.deepcopy(STUDY), overrides))


def ids(overrides: dict[str, Any] | None = None) -> set[str]:
    """Ids of its runs."""
    return {run.id for run in plan(overrides).runs}


def refusal(overrides: dict[str, Any]) -> str:
    """The sentence that the study is refused with."""
    with pytest.raises(UserError) as caught:
        plan(overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("written", [0.001, "1e-3", "0.001", 1e-3])
def test_equal_rates_are_one_run(written: Any) -> None:
    """Case S06: numbers reach the plan as text from the command line."""
    assert ids({"training.lr": written}) == ids({"training.lr": 0.001})
    assert ids({"training.tokens": "10k"}) == ids({"training.tokens": 10000.0}) == ids()


@pytest.mark.parametrize(
    "overrides",
    [
        {"study": "other"},
        {"description": "words"},
        {"figures.width": "double"},
        {"fits": [{"law": "power", "x": "C"}]},
        {"fits": []},
        {"tracking.wandb": "disabled"},
        {"tracking.project": "other"},
        {"evaluation.stride": 4},
        {"evaluation.split": "tuning"},
        {"evaluation.context": 8},
        {"compute.large_threads": 3},
    ],
)
def test_what_does_not_change_a_run_keeps_its_id(overrides: dict[str, Any]) -> None:
    assert ids(overrides) == ids()


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.lr": 0.002},
        {"training.tokens": 12_000},
        {"training.batch_tokens": 128},
        {"training.weight_decay": 0.2},
        {"training.beta1": 0.8},
        {"training.beta2": 0.95},
        {"training.clip": 0.5},
        {"training.precision": "fp32"},
        {"training.schedule.kind": "cosine"},
        {"training.schedule.warmup": 0.1},
        {"training.schedule.cooldown": 0.2},
        {"training.schedule.final": 0.1},
        {"model.depth": 2},
        {"model.heads": 4},
        {"model.context": 8},
        {"seed": 1},
        {"corpus.test_tokens": 4000},
        {"corpus.tokenizer": "bpe"},
        {"compute.large_from": 10, "compute.large_threads": 2},
    ],
)
def test_what_changes_a_run_changes_its_id(overrides: dict[str, Any]) -> None:
    assert not ids(overrides) & ids()


def test_the_evaluation_has_an_id_of_its_own() -> None:
    first = plan()
    assert first.evaluation == {"format": 1, "split": "test", "context": 16, "stride": 16}
    assert plan({"evaluation.context": 16, "evaluation.stride": 16}).evaluation_id == (
        first.evaluation_id
    )
    for changed in ({"evaluation.stride": 4}, {"evaluation.split": "tuning"}):
        assert plan(changed).evaluation_id != first.evaluation_id
        assert plan(changed).corpus_id == first.corpus_id
    assert plan({"corpus.test_tokens": 4000}).corpus_id != first.corpus_id


def test_another_tokenizer_is_another_corpus() -> None:
    """Case T22."""
    changes = [{"tokenizer": "bytes"}, *({"tokenizer": "bpe", "vocab_size": v} for v in (300, 512))]
    assert len({plan({"corpus": change}).corpus_id for change in changes}) == 3


def test_a_new_size_leaves_the_other_runs_as_they_are() -> None:
    assert ids() < ids({"ladder.widths": [8, 16, 24]})
    assert ids({"ladder.widths": [16]}) < ids()


def test_two_studies_share_a_run_that_they_agree_on() -> None:
    alone = {"study": "other", "ladder": {"widths": []}, "model.width": 16}
    assert ids(alone) < ids()


def test_a_repeated_value_of_an_axis_is_removed_with_a_note() -> None:
    """Case S06."""
    found = plan({"axes": {"training.lr": [1e-3, "1e-3", 0.001, 2e-3]}})
    assert sorted({run.spec["training"]["lr"] for run in found.runs}) == [0.001, 0.002]
    assert len(found.runs) == 4
    assert len(found.notes) == 1
    assert "4 repeated runs removed" in found.notes[0]
    assert plan().notes == ()


def test_axes_are_crossed_with_the_ladder_and_each_other() -> None:
    found = plan(
        {
            "axes": {
                "training.schedule.kind": ["wsd", "cosine"],
                "training.schedule.final": [0.0, 0.1],
                "training.lr": [1e-3, {"value": 1e-2, "at": 1e4, "exponent": -0.5}],
                "model.depth": [1, 2],
            }
        }
    )
    assert len(found.runs) == len({run.id for run in found.runs}) == 2**4 * 2
    assert len({run.label for run in found.runs}) == 2**4 * 2
    schedules = {
        (run.spec["training"]["schedule"]["kind"], run.spec["training"]["schedule"]["final"])
        for run in found.runs
    }
    assert schedules == {("wsd", 0), ("wsd", 0.1), ("cosine", 0), ("cosine", 0.1)}
    labels = [run.label for run in found.runs]
    assert all(set(label) <= {*"abcdefghijklmnopqrstuvwxyz0123456789-.+_"} for label in labels)


def test_mixtures_are_told_apart_by_parts_and_weights_and_scored_on_every_set() -> None:
    code = {"name": "code", "source": "python", "packages": ["stdlib"]}
    words = {"name": "words", "source": "docstrings", "packages": ["stdlib"]}
    mixtures = [
        [{**words, "weight": 1}],
        [{**words, "weight": 1}, {**code, "weight": 1}],
        [{**words, "weight": 3}, {**code, "weight": 1}],
    ]
    sets = [{**one, "tokens": 1000} for one in (code, words)]
    found = plan(
        {
            "corpus.source": "mixture",
            "corpus.packages": ["stdlib"],
            "axes": {"corpus.mixture": mixtures},
            "ladder.widths": [8, 16, 24, 32],
            "evaluation.sets": sets,
        }
    )
    assert len(found.corpora) == 3
    told = {run.setting["mixture"] for run in found.runs if run.setting}
    assert told == {"words", "words + code", "words 3 + code 1"}
    labels = {run.label for run in found.runs if run.spec["model"]["width"] == 8}
    assert labels == {f"d8-mixture{name}-s1" for name in ("words", "words+code", "words3+code1")}
    answer = {"answer": "by_axis", "axis": "mixture"}
    assert [*found.answers] == [{**answer, "set": "code"}, {**answer, "set": "words"}]


WEIGHTS = {"axes": {"training.distil_weight": [0, 0.5, 1]}}


def test_the_largest_size_without_a_teacher_teaches_the_others() -> None:
    plain = plan({"ladder.widths": [8, 16, 24, 32]})
    found = plan({"ladder.widths": [8, 16, 24, 32], **WEIGHTS, "training.distil_temperature": 2})
    assert len(found.runs) == 12
    assert [*found.answers] == [{"answer": "by_axis", "axis": "distil_weight"}]
    largest = next(run for run in plain.runs if run.spec["model"]["width"] == 32)
    assert {run.id for run in plain.runs} < {run.id for run in found.runs}, "the same runs"
    for run in found.runs:
        weight = (run.setting or {})["distil_weight"]
        distil = {"teacher": largest.id, "weight": weight, "temperature": 2}
        assert run.spec["training"].get("distil") == (distil if weight else None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": {"training.distil_weight": [0.5, 1]}}, "teacher that the study does not train"),
        ({"training.compile": True}, r"found 0\.5, which training\.compile does not go with"),
        ({"model.family": "t5"}, r"found 0\.5, which the family t5 does not go with"),
        (
            {"training.schedule.warmup_tokens": 100, "training.schedule.share_trunk": True},
            "share_trunk does not go with",
        ),
        ({"ladder.widths": [], "model.width": 8}, "expected it with the design ladder"),
        ({"training.distil_weight": 2}, "less than or equal to 1"),
    ],
)
def test_what_does_not_go_with_a_teacher_is_one_sentence(changes: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan({**WEIGHTS, **changes})


BUDGETS = {"axes": {"training.dp_epsilon": [None, 8, 2]}}


def test_a_privacy_budget_is_compared_with_none_and_leaves_other_runs_as_they_are() -> None:
    sizes = {"ladder.widths": [8, 16, 24, 32]}
    unused = {"training.dp_delta": 1e-5, "training.dp_clip": 0.3}
    found = plan({**sizes, **BUDGETS, **unused})
    assert len(found.runs) == 12 and ids(sizes) == ids({**sizes, **unused})
    assert ids(sizes) < {run.id for run in found.runs}, "the same runs"
    assert [*found.answers] == [{"answer": "by_axis", "axis": "dp_epsilon", "reference": "none"}]
    for run in found.runs:
        epsilon = (run.setting or {})["dp_epsilon"]
        asked = {"epsilon": epsilon, "delta": 1e-5, "clip": 0.3}
        assert run.spec["training"].get("dp") == (None if epsilon == "none" else asked)
    assert "8 runs with differential privacy of a training sequence: epsilon 2, 8" in as_text(found)
    assert not plan(sizes).notes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training.compile": True}, r"found 8, which training\.compile does not go with"),
        ({"training.precision": "fp16"}, r"which training\.precision fp16 does not go with"),
        ({"training.checkpoint_activations": True}, "checkpoint_activations does not go with"),
        ({"training.distil_weight": 0.5}, r"which training\.distil_weight does not go with"),
        (
            {"training.schedule.warmup_tokens": 100, "training.schedule.share_trunk": True},
            "share_trunk does not go with",
        ),
        (
            {"compute.sharding": True, "compute.large_processes": 2},
            r"which compute\.sharding does not go with",
        ),
        ({"model.family": "moe"}, "which the sparse family moe does not go with"),
        ({"model.family": "bert"}, "which the family bert does not go with"),
        ({"training.dp_epsilon": 0.01}, "greater than or equal to 0.1"),
        ({"training.dp_delta": 0}, "greater than 0"),
    ],
)
def test_what_does_not_go_with_a_privacy_budget_is_one_sentence(changes: Any, said: str) -> None:
    assert re.search(said, refusal({"training.dp_epsilon": 8, **changes}))


def test_a_key_of_a_power_rule_can_be_an_axis() -> None:
    rule = {"value": 1e-2, "at": 1e4, "exponent": -0.5}
    found = plan({"training.lr": rule, "axes": {"training.lr.exponent": [0, -0.5]}})
    rates = {(run.spec["model"]["width"], run.spec["training"]["lr"]) for run in found.runs}
    flat = {rate for _, rate in rates if rate == 0.01}
    assert flat == {0.01}
    assert len(rates) == 4


def test_widths_may_be_an_axis() -> None:
    found = plan({"ladder.widths": [], "axes": {"model.width": [8, 16]}})
    assert {run.id for run in found.runs} == ids()


@pytest.mark.parametrize("of", ["N", "D"])
def test_a_power_rule_follows_the_size(of: str) -> None:
    lr = {"value": 3e-3, "at": 1e4, "exponent": -0.3, "of": of}
    batch = {"value": 128, "at": 1e4, "exponent": 1, "of": "N"}
    found = plan({"training.lr": lr, "training.batch_tokens": batch, "ladder.widths": [16, 32]})
    for run in found.runs:
        x = run.counts.n if of == "N" else 10_000
        assert run.spec["training"]["lr"] == pytest.approx(3e-3 * (x / 1e4) ** -0.3, rel=1e-5)
        sequences = max(1, round(128 * run.counts.n / 1e4 / 16))
        assert run.spec["training"]["batch_tokens"] == sequences * 16


def test_tokens_are_what_whole_steps_see() -> None:
    """Case T09."""
    for run in plan({"training.tokens": 10_000, "training.batch_tokens": 96}).runs:
        assert run.spec["training"]["steps"] == 104
        assert run.tokens == 104 * 96 == 9984
        assert run.flops == 9984 * run.counts.training_flops
    for run in plan({"training.tokens": None, "training.tokens_per_param": 20}).runs:
        assert abs(run.tokens - 20 * run.counts.n) <= 32


def test_the_schedule_is_in_steps() -> None:
    changed = {"training.schedule": {"warmup": 0.015, "cooldown": 0.25, "final": 0.1}}
    schedule = plan(changed).runs[0].spec["training"]["schedule"]
    expected = {"kind": "wsd", "warmup_steps": 3, "cooldown_steps": 39, "final": 0.1}
    assert schedule == {**expected, "share_trunk": False}
    cosine = plan({"training.schedule.kind": "cosine"}).runs[0].spec["training"]["schedule"]
    assert cosine["cooldown_steps"] == 0


def test_warm_up_may_be_in_tokens_by_a_rule_of_the_size() -> None:
    rule = {"value": 1e4, "at": 1e4, "exponent": 1}
    for run in plan({"training.schedule.warmup_tokens": rule}).runs:
        recipe = run.spec["training"]
        expected = math.ceil(run.counts.n / recipe["batch_tokens"])
        assert recipe["schedule"]["warmup_steps"] == expected


@pytest.mark.parametrize(("tokens", "expected"), [(2_000, 0.95), (10_000, None), (1e8, 0.999)])
def test_beta2_follows_the_length_of_the_run(tokens: float, expected: float | None) -> None:
    recipe = plan({"training.beta2": "auto", "training.tokens": tokens}).runs[0].spec["training"]
    assert recipe["beta2"] == pytest.approx(expected or 1 - 2.5 / recipe["steps"], rel=1e-3)
    assert plan({"training.tokens": tokens}).runs[0].spec["training"]["beta2"] == 0.99


def test_runs_that_differ_in_D_alone_share_a_trunk_when_asked_to() -> None:
    schedule = {"kind": "wsd", "warmup_tokens": 20_000, "cooldown": 0.25, "share_trunk": True}
    axes = {"axes": {"training.tokens": ["200k", "400k"]}, "training.tokens": None}
    shared = plan({"training.schedule": schedule, **axes})
    assert len(shared.trunks) == len(shared.runs) / 2
    assert {len(one.branches) for one in shared.trunks} == {2}
    (note,) = [note for note in shared.notes if "trunk" in note]
    # Of 200 + 400 thousand tokens, 150 are trained once instead of twice.
    assert note.endswith("25% of the training FLOPs saved")


def test_a_trunk_of_many_beta2_is_refused() -> None:
    schedule = {"kind": "wsd", "warmup_tokens": 1000, "share_trunk": True}
    told = refusal({"training.schedule": schedule, "training.beta2": "auto"})
    assert "share_trunk needs one beta2 for all D, found auto" in told


@pytest.mark.parametrize("value", [1e308, 1e-308])
def test_a_rule_that_leaves_the_numbers_is_refused(value: float) -> None:
    rule = {"value": value, "at": 1, "exponent": 1 if value > 1 else -5}
    assert "to compute at N" in refusal({"training.lr": rule})


def test_shares_that_are_not_used_are_not_added_up() -> None:
    cosine = plan({"training.schedule": {"kind": "cosine", "warmup": 0.8}})
    assert cosine.runs[0].spec["training"]["schedule"]["cooldown_steps"] == 0


@pytest.mark.parametrize(
    "schedule", [{"kind": "cosine", "warmup_tokens": 20_000}, {"kind": "wsd"}], ids=str
)
def test_a_trunk_that_cannot_be_shared_is_refused(schedule: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="share_trunk needs kind wsd and warmup_tokens"):
        plan({"training.schedule": {**schedule, "share_trunk": True}})


def test_muP_is_in_the_shape() -> None:
    (run, *_) = plan({"model.mup_base_width": 64}).runs
    assert run.spec["model"]["mup_base"] == 64
    assert plan({}).runs[0].spec["model"]["mup_base"] == 0


def test_sharding_needs_processes_that_share_the_batch() -> None:
    sharded = {"compute.sharding": True, "compute.large_from": 1}
    assert "sharding needs large_processes of 2 or more" in refusal(sharded)
    assert plan({**sharded, "compute.large_processes": 2}).runs[0].spec["sharding"]
    assert "4 sequences among 3 processes" in refusal({**sharded, "compute.large_processes": 3})
    many = {"compute.large_from": 1, "compute.large_processes": 10**9}
    assert "expected at least one for each" in refusal(many)


@pytest.mark.parametrize("target", [2_000, 20_000, 123_456, 1_000_000])
def test_a_size_becomes_the_nearest_width(target: int) -> None:
    changed = {"ladder": {"sizes": [target], "width_multiple": 8}, "model.heads": 4}
    changed["training"] = {"tokens": "1M"}
    (run,) = plan({**changed, "ladder.widths": []}).runs
    width = run.spec["model"]["width"]
    assert width % 8 == 0
    chosen = abs(math.log(run.counts.n / target))
    for other in (width - 8, width + 8):
        if other:
            (near,) = plan({**changed, "ladder": {"widths": [other]}}).runs
            assert chosen <= abs(math.log(near.counts.n / target))


def test_seeds_are_separate_runs_and_the_smallest_get_more() -> None:
    changed = {"ladder": {"widths": [24, 8, 16], "seeds": 1, "smallest": 2, "smallest_seeds": 3}}
    found = plan(changed)
    assert sorted(run.label for run in found.runs) == [
        *(f"d16-s{seed}" for seed in (1, 2, 3)),
        "d24-s1",
        *(f"d8-s{seed}" for seed in (1, 2, 3)),
    ]
    assert {run.spec["seed"] for run in found.runs} == {1234, 1235, 1236}
    flops = [run.flops for run in found.runs]
    assert flops == sorted(flops, reverse=True), "the costliest run starts first"


def test_large_runs_get_the_threads() -> None:
    found = plan({"compute": {"large_from": 2000, "large_threads": 2}})
    assert {run.spec["model"]["width"]: run.spec["threads"] for run in found.runs} == {8: 1, 16: 2}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"ladder.widths": [9]}, ["model.width: found 9", "multiple", "2"]),
        ({"model.family": "gpt9"}, ["model.family: found 'gpt9'", "gpt2"]),
        (
            {"axes": {"model.family": ["gpt2", "bert"]}},
            ["model.family: found gpt2 (a held-out loss) and bert (a held-out pseudo-loss)"],
        ),
        ({"training.tokens": 500}, ["width", "8 steps", "at least 10"]),
        ({"ladder.widths": []}, ["no runs", "ladder.widths"]),
        ({"ladder": {"widths": [], "sizes": []}}, ["no runs", "ladder.sizes"]),
        ({"model.width": 8}, ["one of ladder.widths, ladder.shapes, ladder.sizes and model.width"]),
        (
            {"ladder.sizes": [1000]},
            ["one of ladder.widths, ladder.shapes, ladder.sizes and model.width"],
        ),
        ({"ladder": {"widths": [], "sizes": [1000, 1010]}}, ["too close", "[8, 8]"]),
        ({"axes": {"training.lr": []}}, ["axes.training.lr", "empty"]),
        ({"axes": {"lr": [1]}}, ["axes: found 'lr'", "training.lr"]),
        ({"axes": {"seed": [1]}}, ["axes: found 'seed'"]),
        ({"axes": {"corpus.vocabulary": [300]}}, ["axes: corpus", "'vocabulary'"]),
        ({"axes": {"corpus.vocab_size": [30]}}, ["vocab_size: found 30", "257"]),
        ({"axes": {"training.lrs": [1]}}, ["axes: training", "'lrs'"]),
        ({"axes": {"training.schedule.kinds": ["wsd"]}}, ["'schedule.kinds'"]),
        ({"axes": {"training.foo.kind": ["wsd"]}}, ["'training.foo.kind'", "training.foo"]),
        ({"axes": {"training.lr.value": [1]}}, ["'training.lr.value'", "training.lr"]),
        ({"axes": {"training.lr": ["fast"]}}, ["lr: found 'fast'", "number"]),
        ({"axes": {"training.lr": [-1]}}, ["lr: found -1", "greater than 0"]),
        ({"evaluation.stride": 17}, ["evaluation.stride: found 17", "16"]),
        ({"evaluation.context": 17}, ["evaluation.context: found 17", "16"]),
        (
            {"axes": {"model.context": [8, 16]}, "evaluation.context": 16},
            ["evaluation.context: found 16", "8"],
        ),
        ({"training.tokens": None}, ["exactly one of tokens and tokens_per_param", "neither"]),
        (
            {"training.tokens_per_param": 20},
            ["exactly one of tokens and tokens_per_param", "tokens and tokens_per_param"],
        ),
        ({"corpus.packages": ["no-such-distribution"]}, ["'no-such-distribution'", "installed"]),
    ],
)
def test_a_design_that_cannot_be_run_is_one_sentence(
    overrides: dict[str, Any], parts: list[str]
) -> None:
    """Case S15, where keys do not go together."""
    sentence = refusal(overrides)
    for part in parts:
        assert part in sentence


def test_the_plan_as_json_and_on_paper() -> None:
    found = plan()
    written = as_json(found)
    assert [item["id"] for item in written["runs"]] == [run.id for run in found.runs]
    for item, run in zip(written["runs"], found.runs, strict=True):
        assert (item["N"], item["D"], item["C"]) == (run.counts.n, run.tokens, run.flops)
    assert {"figures", "fits", "tracking"}.isdisjoint(written)
    text = as_text(found)
    assert all(run.id in text and f"{run.counts.n:,}" in text for run in found.runs)


def test_planning_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, scalelab.plan.command, scalelab.config as c, scalelab.plan.runs as p\n"
        f"p.build(c.parse({STUDY!r}))\n"
        "print([name for name in ('torch', 'transformers', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.stdout.strip() == "[]"
