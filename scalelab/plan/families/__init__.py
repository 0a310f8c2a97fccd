"""Registry of what planning must know of a model family: counts from a shape, in closed form.

One file a family, found by being in this folder. The torch side of a family lives in
`scalelab/models/families/` under the same name; a test holds the two against each other.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from scalelab.errors import UserError


@dataclass(frozen=True)
class Shape:
    """What determines a model's size."""

    family: str
    """Registered name."""
    depth: int
    """Blocks."""
    width: int
    """Residual stream."""
    heads: int
    """Attention heads."""
    context: int
    """Tokens of the longest sequence."""
    vocab: int
    """Tokens of the vocabulary."""
    mup_base: int = 0
    """Width at which muP (Yang et al. 2022) equals the standard parametrisation; 0: no muP."""


@dataclass(frozen=True)
class Counts:
    """Parameters by group, and FLOPs of one forward pass per token."""

    token_embedding: int
    """Token embedding (tied to the output head where the family ties it)."""
    position_embedding: int
    """Learned positions, 0 where there are none."""
    head: int
    """Output head where it is not tied."""
    blocks: int
    """Everything else: blocks and final norm."""
    matmul_flops: int
    """2 FLOPs a weight of every matrix product with weights, output head included."""
    attention_flops: int
    """Products of queries, keys and values at full context."""

    @property
    def n(self) -> int:
        """N: non-embedding parameters (Kaplan et al. 2020, section 2.1, with biases and norms)."""
        return self.blocks

    @property
    def n_embedding(self) -> int:
        """Token and position embedding."""
        return self.token_embedding + self.position_embedding

    @property
    def n_total(self) -> int:
        """All parameters, tied ones once."""
        return self.blocks + self.n_embedding + self.head

    @property
    def training_flops(self) -> int:
        """FLOPs of forward and backward per token: the backward pass costs twice the forward."""
        return 3 * (self.matmul_flops + self.attention_flops)


FAMILIES: dict[str, Callable[[Shape], Counts]] = {}


def register(name: str) -> Callable[[Callable[[Shape], Counts]], Callable[[Shape], Counts]]:
    """Decorator that enters a family's counting function."""

    def enter(function: Callable[[Shape], Counts]) -> Callable[[Shape], Counts]:
        FAMILIES[name] = function
        return function

    return enter


@functools.cache
def _discover() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def names() -> list[str]:
    """Names of all families."""
    _discover()
    return sorted(FAMILIES)


def count(shape: Shape) -> Counts:
    """Parameters and FLOPs of a shape. Raises `UserError` for an impossible one."""
    if shape.family not in names():
        raise UserError(f"model.family: found {shape.family!r}, expected one of {names()}")
    if shape.width % shape.heads:
        raise UserError(
            f"model.width: found {shape.width}, expected a multiple of model.heads = {shape.heads}"
        )
    return FAMILIES[shape.family](shape)
