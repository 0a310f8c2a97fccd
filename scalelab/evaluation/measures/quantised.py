"""What is lost when the weights of a trained model are rounded to few bits.

Round to nearest, which methods with data improve on (Frantar et al. 2022, arXiv:2210.17323). The
matrices of the blocks are cut into groups of at most 64 weights of one output, each with a scale
and a zero point between its ends. Activations stay as they are. torch's observer and fake
quantisation do the arithmetic.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.ao.quantization.observer import PerChannelMinMaxObserver

from scalelab.evaluation.measures import Estimate, Subject, mean_of, measure
from scalelab.evaluation.measures._weights import (
    KEPT_BYTES,
    changed,
    count,
    halve,
    matrices,
    put,
    rows_of,
    window_losses,
)

BITS = (8, 4, 3)
GROUP = 64
GROUP_BYTES = 3
"""A scale in fp16 and a zero point of at most eight bits."""


@measure
def quantised(subject: Subject) -> Mapping[str, Estimate]:
    """loss_nats with weights in fp32; for 16, 8, 4 and 3 bits the excess over it (nats/token,
    paired by window) and the bytes of all weights, scales and zero points included."""
    model = subject.model
    whole = window_losses(subject)
    inside, outside = count(model)
    found = {"loss_nats": mean_of(whole), "fp32_bytes": Estimate(4.0 * (inside + outside), 0.0)}
    with changed(model, lambda: halve(model)):
        found["fp16_excess_nats"] = mean_of(window_losses(subject) - whole)
        found["fp16_bytes"] = Estimate(float(KEPT_BYTES * (inside + outside)), 0.0)
        for bits in BITS:
            with changed(model, lambda bits=bits: quantise(model, bits)):  # type: ignore[misc]
                found[f"int{bits}_excess_nats"] = mean_of(window_losses(subject) - whole)
            stored = KEPT_BYTES * outside + sum(
                stored_bytes(rows_of(model, name, weight), bits)
                for name, weight in matrices(model).items()
            )
            found[f"int{bits}_bytes"] = Estimate(float(stored), 0.0)
    return found


def quantise(model: Any, bits: int) -> None:
    """Round the matrices of the blocks in place."""
    for name, weight in matrices(model).items():
        put(model, name, rounded(rows_of(model, name, weight.detach()), bits))


def rounded(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """(O, I) with each group of an output on its own grid of 2^bits values."""
    outputs, inputs = rows.shape
    size = min(GROUP, inputs)
    # Zeros at the end of a row change no group: every grid holds 0 anyway.
    padded = torch.nn.functional.pad(rows, (0, -inputs % size))
    groups = padded.reshape(-1, size)
    observer = PerChannelMinMaxObserver(
        ch_axis=0,
        dtype=torch.quint8,
        qscheme=torch.per_channel_affine,
        quant_min=0,
        quant_max=2**bits - 1,
    )
    observer(groups)
    scales, zeros = observer.calculate_qparams()
    # Scales are stored in fp16, so they are used as such; none may vanish.
    scales = scales.clamp_min(torch.finfo(torch.float16).tiny).half().float()
    grid = torch.fake_quantize_per_channel_affine(
        groups, scales.to(groups.device), zeros.int().to(groups.device), 0, 0, 2**bits - 1
    )
    return grid.reshape(outputs, -1)[:, :inputs]


def stored_bytes(rows: torch.Tensor, bits: int) -> int:
    """Bytes of an (O, I) matrix at so many bits a weight, packed, with what its groups need."""
    groups = rows.shape[0] * -(-rows.shape[1] // min(GROUP, rows.shape[1]))
    return -(-rows.numel() * bits // 8) + GROUP_BYTES * groups
