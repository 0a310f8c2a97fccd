"""Registry of what planning must know of a model family: counts from a shape, in closed form.

One file a family, found by being in this folder. The torch side of a family lives in
`scalelab/models/families/` under the same name; a test holds the two against each other.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalelab.errors import UserError, shown
from scalelab.plan.objectives import CAUSAL, OBJECTIVES, Objective

OPTIONS = ("kv_heads", "inner", "tied", "band", "experts", "active_experts")
"""Fields of a shape that some families alone have. None: what the family does by itself."""
OF_TRANSFORMERS = "hf"
"""`hf:NAME` is the family of a configuration of transformers: a type of model, a folder, or a name
on the hub."""


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
    kv_heads: int | None = None
    """Heads of keys and values, each shared by several of queries (Ainslie et al. 2023)."""
    inner: int | None = None
    """Inner width of a gated MLP; of one expert where there are several."""
    tied: bool | None = None
    """Whether the output head is the token embedding."""
    band: int | None = None
    """Tokens that a layer of banded attention sees, itself included."""
    experts: int | None = None
    """MLPs of a layer of which a token passes a few."""
    active_experts: int | None = None
    """How many of them a token passes."""

    def option(self, name: str) -> Any:
        """The value of one of `OPTIONS`, the family's own where none is given."""
        given = getattr(self, name)
        return _known(self.family).options[name](self) if given is None else given

    def specification(self) -> dict[str, Any]:
        """The shape in a run's specification. Options that say what the family does anyway are
        left out: equal shapes are equal runs, and those from before there were options stay."""
        own = _known(self.family).options
        kept = {
            name: getattr(self, name)
            for name in OPTIONS
            if getattr(self, name) is not None
            and not (name in own and getattr(self, name) == own[name](self))
        }
        plain = {name: value for name, value in asdict(self).items() if name not in OPTIONS}
        return plain | kept


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
    idle: int = 0
    """Those of `blocks` that a token does not pass: the experts that it is not sent to."""

    @property
    def n(self) -> int:
        """N: non-embedding parameters (Kaplan et al. 2020, section 2.1, with biases and norms)."""
        return self.blocks

    @property
    def n_active(self) -> int:
        """Non-embedding parameters that a token passes; N unless the family is sparse."""
        return self.blocks - self.idle

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


@dataclass(frozen=True)
class Registered:
    """A family as planning knows it: its counts, its own value of each option that it has."""

    count: Callable[[Shape], Counts]
    options: Mapping[str, Callable[[Shape], Any]]
    mup: bool
    objective: Objective
    exports: str | None


REGISTERED: dict[str, Registered] = {}


def register(
    name: str,
    mup: bool = False,
    objective: str = CAUSAL.name,
    exports: str | None = None,
    **options: Callable[[Shape], Any],
) -> Callable[[Callable[[Shape], Counts]], Callable[[Shape], Counts]]:
    """Decorator that enters a family's counting function.

    mup: whether the family has muP. objective: what it predicts (`scalelab.plan.objectives`).
    exports: the `model_type` of its checkpoints; None: not known here. options: of `OPTIONS` those
    that it heeds, each with its own value at a shape.
    """

    def enter(function: Callable[[Shape], Counts]) -> Callable[[Shape], Counts]:
        REGISTERED[name] = Registered(function, options, mup, OBJECTIVES[objective], exports)
        return function

    return enter


@functools.cache
def _discover() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def names() -> list[str]:
    """Names of all families but those of transformers, which have theirs there."""
    _discover()
    return sorted(set(REGISTERED) - {OF_TRANSFORMERS})


def module_of(name: str) -> str:
    """The module of a family, here and in `scalelab.models.families`."""
    return OF_TRANSFORMERS if name.startswith(f"{OF_TRANSFORMERS}:") else name


def unknown(name: str) -> UserError:
    """The error of a family that there is not."""
    return UserError(
        f"model.family: found {shown(name)}, expected one of {names()} or "
        f"{OF_TRANSFORMERS}: and a causal model of transformers, such as hf:gpt_neox"
    )


def _known(name: str) -> Registered:
    _discover()
    if name == OF_TRANSFORMERS or module_of(name) not in REGISTERED:
        raise unknown(name)
    return REGISTERED[module_of(name)]


def objective(name: str) -> Objective:
    """What a family predicts. Raises `UserError` for an unknown family."""
    return _known(name).objective


def exported_type(name: str) -> str | None:
    """The `model_type` in the checkpoints of a family; None where planning does not know it."""
    kind = name.partition(":")[2]
    if kind:
        return None if "/" in kind or Path(kind).is_dir() else kind
    return _known(name).exports


def count(shape: Shape) -> Counts:
    """Parameters and FLOPs of a shape. Raises `UserError` for an impossible one."""
    family = _known(shape.family)
    if shape.width % shape.heads:
        raise UserError(
            f"model.width: found {shape.width}, expected a multiple of model.heads = {shape.heads}"
        )
    if shape.mup_base and not family.mup:
        raise UserError(
            f"model.mup_base_width: found {shape.mup_base}, but the family {shape.family} has no "
            "muP; leave it out"
        )
    for name in OPTIONS:
        if getattr(shape, name) is not None and name not in family.options:
            raise UserError(
                f"model.{name}: found {getattr(shape, name)}, but the family {shape.family} has "
                "no such choice; leave it out"
            )
    return family.count(shape)
