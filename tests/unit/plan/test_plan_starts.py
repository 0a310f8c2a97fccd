"""Runs that start from a checkpoint: whose weights are in their ids, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_plan_runs import ids, plan, refusal

from scalelab.models import registry
from scalelab.plan import hub
from scalelab.plan.families import Shape, count, exported_type
from scalelab.plan.starts import NAMES, called

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Make = Callable[..., Path]


def configuration(width: int, **other: Any) -> dict[str, Any]:
    """config.json of a gpt2 of the small study."""
    return {
        "model_type": "gpt2",
        **{"n_embd": width, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 257},
        **other,
    }


def write(folder: Path, width: int, weights: bytes = b"some", **other: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration(width, **other)))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The pattern of the checkpoints of a study of the two sizes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for width in (8, 16):
        write(Path(f"results/before/checkpoints/d{width}-s1"), width, b"%d" % width)
    return "results/before/checkpoints/d{width}-s{seed}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one model, and no network."""
    from huggingface_hub import constants

    root = tmp_path / "hub/models--lab--small"
    write(root / "snapshots" / COMMIT, 8)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv(hub.FOUND, raising=False)
    return root


def test_without_a_checkpoint_runs_are_what_they_were() -> None:
    found = plan({"training.init": None})
    assert {run.id for run in found.runs} == ids()
    assert all("init" not in run.spec["training"] and run.init is None for run in found.runs)


def test_a_pattern_serves_a_ladder_and_weights_are_in_the_id(checkpoints: str) -> None:
    first = plan({"training.init": checkpoints})
    assert {run.init for run in first.runs} == {
        f"results/before/checkpoints/d{width}-s1" for width in (8, 16)
    }
    assert not {run.id for run in first.runs} & ids()
    Path("results/before").rename("results/moved")
    moved = checkpoints.replace("before", "moved")
    assert ids({"training.init": moved}) == {run.id for run in first.runs}, "where is not what"
    write(Path("results/moved/checkpoints/d8-s1"), 8, b"other")
    assert len(ids({"training.init": moved}) & {run.id for run in first.runs}) == 1


def test_an_axis_has_short_names_and_asks_for_its_answer(checkpoints: str) -> None:
    axes = {"training.init": [None, checkpoints], "training.tokens": ["10k", "20k"]}
    found = plan({"axes": axes, "training.tokens": None})
    assert {run.label.split("-")[1] for run in found.runs} == {"initnone", "initbefore"}
    assert {(run.setting or {})["init"] for run in found.runs} == {"none", "before"}
    assert [*found.answers] == [{"answer": "transfer"}]
    one_d = plan({"axes": {"training.init": [None, checkpoints]}})
    assert not one_d.answers, "with one D nothing can be interpolated"


@pytest.mark.parametrize(
    ("value", "others", "name"),
    [
        ("results/old/checkpoints/d{width}-s1", [None], "old"),
        ("lab/small", [None, "lab/small"], "lab-small"),
        ("results/a/checkpoints/d8-{seed}", ["results/a/checkpoints/{seed}"] * 2, None),
    ],
)
def test_names_of_starts_are_short_where_they_are_told_apart(
    value: str, others: list[Any], name: str | None
) -> None:
    assert called(value, others) == (name or value)


def test_a_trunk_starts_from_the_checkpoint_too(checkpoints: str) -> None:
    changes = {
        **{"training.schedule.warmup_tokens": 100, "training.schedule.share_trunk": True},
        **{"training.init": checkpoints, "training.tokens": None},
        "axes": {"training.tokens": ["10k", "20k"]},
    }
    found = plan(changes)
    assert len(found.trunks) == 2
    runs = {run.id: run for run in found.runs}
    for trunk in found.trunks:
        (init,) = {runs[run].init for run in trunk.branches}
        assert init and trunk.spec["training"]["init"] == {
            "sha256": runs[next(iter(trunk.branches))].spec["training"]["init"]["sha256"]
        }


def test_a_model_of_the_hub_is_its_commit(cache: Path) -> None:
    for name in ("lab/small", "lab/small@main", f"lab/small@{COMMIT}"):
        found = plan({"training.init": name, "ladder.widths": [8]})
        (run,) = found.runs
        assert (run.init, run.spec["training"]["init"]) == ("lab/small", {"commit": COMMIT})
    assert "'lab/other' at 'main' is not in the cache" in refusal({"training.init": "lab/other"})
    assert "`hf download lab/other`" in refusal({"training.init": "lab/other"})
    (cache / "snapshots" / COMMIT / "model.safetensors").unlink()
    said = refusal({"training.init": "lab/small", "ladder.widths": [8]})
    assert said.startswith("training.init: found no model.safetensors in lab/small@0123456789ab")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model_type": "gptj"}, "the model_type 'gptj', expected 'gpt2', that of the run"),
        ({"n_embd": 32}, "the width 32, expected 8"),
        ({"n_layer": 3}, "the depth 3, expected 1"),
        ({"n_head": 4}, "the heads 4, expected 2"),
        ({"vocab_size": 512}, "the vocabulary 512, expected 257"),
        ({"n_positions": 1024}, "the context 1024, expected 16"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    folder = write(tmp_path / "model", 8, **other)
    found = refusal({"training.init": str(folder), "ladder.widths": [8]})
    assert found.startswith("training.init: found ") and said in found


def test_what_is_no_checkpoint_is_one_sentence(checkpoints: str) -> None:
    def said(init: str, **more: Any) -> str:
        return refusal({"training.init": init, **more})

    assert "so train the study none first" in said("results/none/checkpoints/d{width}-s1")
    assert "expected {width}, {depth}, {seed} between braces" in said("x/{heads}")
    for name in ("", " ", "a", "./a/b", "a/b/c", "~nobody/x", "x\0", "x" * 5000):
        assert "expected a folder with a checkpoint or owner/name" in said(name)
    assert "d8-s2'" in said(checkpoints, **{"ladder.seeds": 2}), "a seed that was not trained"
    Path("results/before/checkpoints/d8-s1/config.json").write_text("[]")
    assert "expected a configuration in JSON" in said(checkpoints)
    Path("results/before/checkpoints/d8-s1/config.json").unlink()
    assert "found no config.json in the folder" in said(checkpoints)
    Path("results/before/checkpoints/d16-s1/model.safetensors").unlink()
    assert "found no model.safetensors in" in said(checkpoints, **{"ladder.widths": [16]})


def test_a_teacher_does_not_go_with_it(checkpoints: str) -> None:
    axes = {"training.distil_weight": [0, 1]}
    assert "which training.init does not go with" in refusal(
        {"axes": axes, "training.init": checkpoints}
    )


@pytest.mark.parametrize("family", registry.names())
def test_the_configuration_of_a_family_is_understood(family: str) -> None:
    shape = Shape(family=family, depth=3, width=24, heads=2, context=16, vocab=40)
    config = registry.get(family).config(shape)
    assert exported_type(family) == config["model_type"]
    found = {
        key: next(config[name] for name in names if name in config)
        for key, names in NAMES.items()
        if key != "context" or count(shape).position_embedding
    }
    vocabulary = 40 + len(registry.get(family).special(shape))
    wanted = {"width": 24, "depth": 3, "heads": 2, "vocabulary": vocabulary, "context": 16}
    assert found == {key: wanted[key] for key in found}
    assert count(shape).token_embedding == vocabulary * 24
