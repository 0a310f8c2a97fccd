"""Products in fp8, emulated: the rounding, what is converted, runs that go on, refusals."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_training_distributed import train as in_processes

from scalelab.config import parse
from scalelab.errors import UserError
from scalelab.models import build
from scalelab.plan.families import Shape
from scalelab.plan.runs import build as plan
from scalelab.training import fp8
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.paths import ComputePath
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def torchao(apart: Callable[[str, str], Any]) -> Any:
    """The library; without it the test is skipped."""
    return apart("torchao", "fp8")


def shape(family: str = "gpt2", width: int = 16) -> Shape:
    return Shape(family=family, depth=2, width=width, heads=2, context=16, vocab=20)


def wide(spec: dict[str, Any], **model: Any) -> dict[str, Any]:
    """The specification at a width that fp8 takes."""
    return {**spec, "model": {**spec["model"], "width": 16, **model}}


def rounded(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scaled to the format's range by the largest magnitude, rounded, scaled back."""
    scale = torch.finfo(dtype).max / tensor.abs().max()
    return (tensor * scale).to(dtype).float() / scale


def test_operands_are_rounded_by_tensor_forward_and_backward() -> None:
    model = build(shape(), seed=1)
    layer = model.blocks[0].up
    inputs = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    outside = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    fp8.convert(model, "fp8_emulated", CPU)
    converted = model.blocks[0].up
    assert converted.weight is layer.weight, "the optimiser holds the same parameter"
    found = converted(inputs)
    found.backward(outside)
    x, w = (rounded(one, torch.float8_e4m3fn) for one in (inputs, layer.weight.detach()))
    g = rounded(outside, torch.float8_e5m2)
    torch.testing.assert_close(found, x @ w.T + layer.bias, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.weight.grad, g.T @ x, rtol=1e-4, atol=1e-4)
    exact = inputs @ layer.weight.T + layer.bias
    assert 0.005 < (found - exact).norm() / exact.norm() < 0.1, "three bits of mantissa"


@pytest.mark.parametrize("family", ["gpt2", "gpt3", "gptj", "llama", "bert", "t5", "hf:gpt_neox"])
def test_of_each_family_the_layers_of_the_blocks_and_no_others(family: str) -> None:
    model = build(shape(family), seed=1)
    names = [name for name, _ in model.named_parameters()]
    inside = {id(one) for one in model.blocks.modules() if isinstance(one, torch.nn.Linear)}
    before = {name for name, one in model.named_modules() if id(one) in inside}
    fp8.convert(model, "fp8_emulated", CPU)
    after = {name for name, one in model.named_modules() if type(one).__name__ == "Float8Linear"}
    assert after == before and len(after) >= 8
    assert [name for name, _ in model.named_parameters()] == names


def test_a_run_stops_and_goes_on_with_the_same_losses(
    spec: Spec, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    settings = wide(spec(steps=40, precision="fp8_emulated"))
    straight = trainer(settings, folder=tmp_path / "straight").run(1e9, lambda: False)
    first = trainer(settings)
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 20)
    second = trainer(settings)
    ended = second.run(1e9, lambda: False)
    assert [row["loss_nats"] for row in ended.records] == [
        row["loss_nats"] for row in straight.records
    ]
    assert second.stepper.path == ComputePath("fp8_emulated", False)
    assert straight.records[-1]["loss_nats"] < straight.records[0]["loss_nats"] - 0.3


def test_a_checkpoint_is_that_of_any_other_run(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    results, weights = [], []
    for precision in ("bf16", "fp8_emulated"):
        settings = wide(spec(steps=30, precision=precision))
        results.append(train(settings, corpus_folder, tmp_path / precision, 1, lambda _: None))
        weights.append(load_file(tmp_path / precision / "checkpoint" / "model.safetensors"))
        assert results[-1]["precision"] == precision
    assert weights[0].keys() == weights[1].keys()
    assert all(tensor.dtype == torch.float32 for tensor in weights[1].values())
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert results[1]["train_loss_nats"] == pytest.approx(results[0]["train_loss_nats"], abs=0.02)
    assert results[0]["id"] != results[1]["id"]


def test_a_device_without_fp8_is_one_sentence() -> None:
    expected = "found fp8, which cpu does not have here; expected fp32, bf16, fp16, fp8_emulated"
    with pytest.raises(UserError, match=expected):
        fp8.convert(build(shape(), seed=1), "fp8", CPU)


@pytest.mark.parametrize(
    ("family", "told"),
    [("hf:gpt2", "blocks are made of torch's linear layers"), ("llama", "layer of 16 by 40")],
)
def test_layers_that_are_not_converted_are_one_sentence(family: str, told: str) -> None:
    one = shape(family)
    if family == "llama":
        one = dataclasses.replace(one, inner=20)
    with pytest.raises(UserError, match=told):
        fp8.convert(build(one, seed=1), "fp8_emulated", CPU)


def test_no_torchao_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(UserError, match=r"needs torchao.*pip install 'scalelab\[fp8\]'"):
        fp8.convert(build(shape(), seed=1), "fp8_emulated", CPU)


@pytest.mark.parametrize(
    ("family", "width", "training", "told"),
    [
        ("gpt2", 24, {}, r"found fp8 with width 24 \(N = .*\), expected widths that are multiples"),
        ("moe", 16, {}, "found fp8, which the sparse family moe does not go with"),
        ("gpt2", 16, {"dp_epsilon": 8.0}, "which training.precision fp8 does not go with"),
    ],
)
def test_what_fp8_does_not_go_with_is_refused_before_a_run(
    family: str, width: int, training: dict[str, Any], told: str
) -> None:
    study = parse(
        {
            "study": "narrow",
            "model": {"family": family, "depth": 2, "heads": 2, "context": 16},
            "ladder": {"widths": [width]},
            "training": {"tokens": 100_000, "batch_tokens": 64, "precision": "fp8", **training},
        }
    )
    with pytest.raises(UserError, match=told):
        plan(study)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [False, True], ids=["replicated", "sharded"])
def test_two_processes_end_near_one(
    spec: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torchao: Any,
    sharding: bool,
) -> None:
    """Near, since each process scales by the largest magnitude of its own share."""
    monkeypatch.setenv("PYTHONPATH", str(Path(torchao.__file__).parents[1]))
    one = wide(spec(steps=20, batch_tokens=128, precision="fp8_emulated"))
    expected = in_processes(one, corpus_folder, tmp_path / "one")
    two = {**one, "processes": 2, "sharding": sharding}
    more = ("--processes", "2", "--threads", "2")
    found = in_processes(two, corpus_folder, tmp_path / "two", *more)
    assert found == pytest.approx(expected, abs=0.02) and found != expected


@pytest.mark.slow
def test_a_compiled_run_ends_near_one_that_is_not(
    spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    results = []
    for compiled in (False, True):
        settings = wide(spec(steps=20, precision="fp8_emulated"))
        settings["training"]["compile"] = compiled
        results.append(train(settings, corpus_folder, tmp_path / str(compiled), 1, lambda _: None))
    assert results[1]["train_loss_nats"] == pytest.approx(results[0]["train_loss_nats"], abs=0.02)
