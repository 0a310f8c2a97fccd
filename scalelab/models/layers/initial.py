"""Initial weights of families whose blocks are linear layers, embeddings and norms."""

import math

import torch
from torch import nn

REFERENCE_WIDTH = 768
REFERENCE_STD = 0.02


def draw(
    model: nn.Module, width: int, depth: int, residual: tuple[str, ...], generator: torch.Generator
) -> None:
    """GPT-2's initialisation for all families, so that they differ in their architecture alone.

    Matrices and embeddings are normal with std 0.02 at width 768, falling as 1/sqrt(width); those
    into the residual stream, whose names end as `residual` says, have it over sqrt(2 L) (Radford et
    al. 2019, section 2.3). Biases are 0; norms stay 1.
    """
    std = REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / width)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            into_residual = name.endswith(residual)
            scale = std / math.sqrt(2 * depth) if into_residual else std
            nn.init.normal_(parameter, std=scale, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
