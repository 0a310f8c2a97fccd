"""The way of computing: chosen by measurement, remembered, and none of them changes the loss."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.errors import UserError
from scalelab.files import read_json
from scalelab.models import build
from scalelab.plan.families import Shape
from scalelab.training import machine, paths
from scalelab.training.paths import ComputePath, choose
from scalelab.training.run import train

CPU = torch.device("cpu")
SHAPE = Shape("gpt2", depth=2, width=8, heads=2, context=16, vocab=31)


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone, and the file in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "scalelab" / "paths.json"


def timed(seconds: dict[tuple[str, bool], float], seen: list[ComputePath]) -> Callable[..., float]:
    """In place of a measurement: the seconds of each precision and way."""

    def measure(_: Shape, path: ComputePath) -> float:
        seen.append(path)
        return seconds[path.precision, path.by_hand]

    return measure


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({("fp32", True): 1.0, ("fp32", False): 0.95}, ("fp32", True)),
        ({("fp32", True): 1.0, ("fp32", False): 0.8}, ("fp32", False)),
        ({("fp32", True): 1.0, ("fp32", False): 2, ("bf16", True): 0.9}, ("fp32", True)),
        ({("fp32", True): 1.0, ("fp32", False): 2, ("bf16", True): 0.5}, ("bf16", True)),
        ({("fp32", True): 1.0, ("fp32", False): 2, ("bf16", False): 0.5}, ("bf16", False)),
    ],
    ids=["near tie", "torch", "bf16 hardly", "bf16", "bf16 by torch"],
)
def test_another_way_than_the_first_must_be_clearly_quicker(
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[tuple[str, bool], float],
    expected: tuple[str, bool],
) -> None:
    monkeypatch.setattr(paths, "_hopeless", lambda _: False)
    slow = {(precision, hand): 9.0 for precision in ("fp32", "bf16") for hand in (True, False)}
    monkeypatch.setattr(paths, "_seconds", timed({**slow, **seconds}, []))
    assert choose(SHAPE, "auto", CPU) == ComputePath(*expected)


def test_what_was_measured_is_remembered_by_shape_and_threads(
    monkeypatch: pytest.MonkeyPatch, memory: Path
) -> None:
    seen: list[ComputePath] = []
    seconds = {("fp32", True): 1.0, ("fp32", False): 0.5}
    monkeypatch.setattr(paths, "_seconds", timed(seconds, seen))
    first = choose(SHAPE, "fp32", CPU)
    assert first == ComputePath("fp32", False) and len(seen) == 2
    seconds["fp32", False] = 5.0
    assert choose(SHAPE, "fp32", CPU) == first and len(seen) == 2
    more = torch.get_num_threads() + 1
    with monkeypatch.context() as two:
        two.setattr(torch, "get_num_threads", lambda: more)
        assert choose(SHAPE, "fp32", CPU) == ComputePath("fp32", True)
    memory.write_text(memory.read_text(encoding="utf-8")[:30], encoding="utf-8")
    assert choose(SHAPE, "fp32", CPU) == ComputePath("fp32", True), "damaged: measured anew"
    assert len(json.loads(memory.read_text(encoding="utf-8"))) == 1


def test_a_cache_folder_that_cannot_be_written_to_costs_a_measurement_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    assert choose(SHAPE, "fp32", CPU).precision == "fp32"


def test_a_precision_that_is_asked_for_is_taken() -> None:
    for wanted in ("fp32", "bf16", "fp16"):
        assert choose(SHAPE, wanted, CPU).precision == wanted
    assert choose(SHAPE, "auto", CPU).precision in ("fp32", "bf16")


def test_a_precision_that_the_device_lacks_is_one_sentence() -> None:
    with pytest.raises(UserError, match="found tf32, which cpu does not have here; expected fp32"):
        choose(SHAPE, "tf32", CPU)


def test_tf32_is_switched_on_for_a_run_that_asks_for_it() -> None:
    model = build(SHAPE, seed=1)
    for precision, expected in (("tf32", "high"), ("fp32", "highest")):
        ComputePath(precision, False).apply(model)
        assert torch.get_float32_matmul_precision() == expected


@pytest.mark.parametrize("name", ["cuda", "xpu", "cpu:x", "cuda:zero"])
def test_a_device_that_is_not_here_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SCALELAB_DEVICE", name)
    with pytest.raises(UserError, match=f"SCALELAB_DEVICE: found '{name}', expected one of"):
        machine.device()


def test_long_sequences_are_not_computed_by_hand() -> None:
    long = Shape("gpt2", depth=1, width=8, heads=2, context=1024, vocab=31)
    assert not choose(long, "fp32", CPU).by_hand


def test_a_run_says_which_attention_it_was_computed_by(
    corpus_folder: Path,
    tmp_path: Path,
    spec: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Case H05: ours with gradients by hand, or that of torch (sdpa)."""
    losses = {}
    for by_hand in (True, False):
        path = ComputePath("fp32", by_hand)
        monkeypatch.setattr(paths, "choose", lambda *_, path=path: path)
        run = train(spec(), corpus_folder, tmp_path / str(by_hand), 1, lambda _: None)
        assert read_json(tmp_path / str(by_hand) / "run.json")["gradients_by_hand"] is by_hand
        losses[by_hand] = run["train_loss_nats"]
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_every_way_gives_the_same_loss_and_gradients(precision: str, by_hand: bool) -> None:
    tokens = torch.randint(31, (4, 17), generator=torch.manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]

    def gradients(path: ComputePath) -> tuple[float, torch.Tensor]:
        model = build(SHAPE, seed=1)
        path.apply(model)
        with paths.autocast(CPU, path):
            loss = model(inputs, targets)
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    loss, found = gradients(ComputePath(precision, by_hand))
    exact, expected = gradients(ComputePath("fp32", False))
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    assert loss == pytest.approx(exact, rel=tolerance / 10)
    assert (found - expected).norm() < tolerance * expected.norm()
