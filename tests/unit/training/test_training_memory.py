"""How many sequences a forward pass takes: what is quick, what fits, what was found on the way."""

import pytest
import torch

from scalelab.plan.families import Shape
from scalelab.training import machine, step
from scalelab.training.paths import ComputePath
from scalelab.training.step import activation_bytes, micro_sequences

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


def test_half_the_precision_fits_twice_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    free = int(10.5 * activation_bytes(SHAPE, 4) / step.USABLE)
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: free)
    assert micro_sequences(SHAPE, 1000, FP32, CPU) == 10
    assert micro_sequences(SHAPE, 1000, BF16, CPU) == 21


def test_activations_are_those_of_a_real_step() -> None:
    """What autograd keeps for one sequence, counted by its own hooks, is within the estimate."""
    from scalelab.models import build

    shape = Shape("gpt2", depth=4, width=128, heads=4, context=128, vocab=64)
    model = build(shape, seed=0)
    FP32.apply(model)
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = torch.zeros(1, 128, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(tokens, tokens)
    assert 0.5 < sum(kept.values()) / activation_bytes(shape, 4) < 1.2


def test_free_memory_and_the_rate_of_products_are_plausible() -> None:
    assert 2**20 < machine.free_memory_bytes(CPU) < 2**50
    assert 1e8 < machine.peak_flops_per_second(CPU, torch.float32) < 1e15
