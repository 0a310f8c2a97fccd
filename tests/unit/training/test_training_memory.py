"""How many sequences a forward pass takes: what is quick, what fits, what was found on the way."""

from dataclasses import replace

import pytest
import torch

from scalelab.plan.families import Shape
from scalelab.plan.passes import Pass, held
from scalelab.training import machine, step
from scalelab.training.paths import ComputePath
from scalelab.training.step import micro_sequences

CPU = torch.device("cpu")
SHAPE = Shape("gpt2", depth=3, width=64, heads=2, context=128, vocab=512)
FP32, BF16 = ComputePath("fp32", True), ComputePath("bf16", True)


@pytest.mark.parametrize(
    ("sequences", "free", "expected"),
    [(8, 2**34, 8), (1000, 2**34, 32), (1000, 0, 1)],
    ids=["a small batch", "as many as are quick", "no memory"],
)
def test_a_pass_is_as_large_as_is_quick_and_fits(
    monkeypatch: pytest.MonkeyPatch, sequences: int, free: int, expected: int
) -> None:
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: free)
    assert micro_sequences(SHAPE, sequences, FP32, CPU) == expected


def test_half_the_precision_fits_nearly_twice_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = replace(SHAPE, depth=24)
    free = held(deep, Pass(10)).peak / step.USABLE
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: free)
    assert micro_sequences(deep, 1000, FP32, CPU) == 10
    assert 15 <= micro_sequences(deep, 1000, BF16, CPU) < 20, "the residual stream stays fp32"


def test_free_memory_and_the_rate_of_products_are_plausible() -> None:
    assert 2**20 < machine.free_memory_bytes(CPU) < 2**50
    assert 1e8 < machine.peak_flops_per_second(CPU, torch.float32) < 1e15
