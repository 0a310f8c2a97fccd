"""Registry of trainable families: discovered from `families/`, one file each."""

import functools
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scalelab.errors import UserError
from scalelab.models import families
from scalelab.plan.families import OF_TRANSFORMERS, Shape, module_of, unknown


class LanguageModel(nn.Module, ABC):
    """What training and evaluation ask of a model, whatever its family."""

    head_dtype: torch.dtype
    """Compute precision of the output head in training."""
    by_hand: torch.dtype | None = None
    """Blocks compute with the gradients of `layers.sublayers`, products in this dtype; None: as
    modules of torch."""
    separator: int | None = None
    """Attention and positions begin anew at this token; None: they run over the whole sequence."""

    def predictions(self, inputs_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits in fp32, (B, T, V), and what training adds to the gradient of its loss, if any.

        Asked of teachers, their students, and runs with a privacy budget; `UserError` for a family
        without them.
        """
        raise UserError(
            "training.distil_weight, training.dp_epsilon: found a family without predictions, "
            "expected one that gives its logits"
        )

    @abstractmethod
    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Loss in nats by token, (B, T)."""


@dataclass(frozen=True)
class Family:
    """The torch side of a family (its counts are in `scalelab.plan.families`)."""

    build: Callable[[Shape], LanguageModel]
    """Module on the CPU in fp32. Its forward takes inputs and targets, int64 (B, T), and returns
    the summed loss in nats as a scalar; `losses(inputs, targets)` returns them by token, (B, T)."""
    initialise: Callable[[LanguageModel, torch.Generator], None]
    """Draw the weights."""
    config: Callable[[Shape], dict[str, Any]]
    """The transformers configuration (config.json)."""
    state: Callable[[LanguageModel], dict[str, torch.Tensor]]
    """Weights under the names of the transformers class, as views of the parameters."""
    factors: Callable[[Shape], dict[str, torch.Tensor]] = lambda shape: {}
    """What the weights of some names are multiplied by in the transformers class."""
    special: Callable[[Shape], Sequence[str]] = lambda shape: ()
    """Tokens that it has beside the vocabulary, in the order of their ids."""
    documents: bool = False
    """Whether the module heeds its `separator`."""
    by_hand: bool = False
    """Whether the module heeds its `by_hand`."""


FAMILIES: dict[str, Family] = {}


def register(name: str, family: Family) -> None:
    """Enter a family."""
    FAMILIES[name] = family


@functools.cache
def _discover() -> None:
    for module in pkgutil.iter_modules(families.__path__):
        importlib.import_module(f"{families.__name__}.{module.name}")


def names() -> list[str]:
    """Names of all families but those of transformers, which have theirs there."""
    _discover()
    return sorted(set(FAMILIES) - {OF_TRANSFORMERS})


def get(name: str) -> Family:
    """A family by name. Raises `UserError` for an unknown one."""
    _discover()
    if name == OF_TRANSFORMERS or module_of(name) not in FAMILIES:
        raise unknown(name)
    return FAMILIES[module_of(name)]


def build(shape: Shape, seed: int) -> LanguageModel:
    """A freshly initialised model; equal seeds give equal weights."""
    family = get(shape.family)
    model = family.build(shape)
    family.initialise(model, torch.Generator().manual_seed(seed))
    return model


def attend_to(model: LanguageModel, family: str, attention: str, separator: int) -> None:
    """Have a model attend to the whole `stream`, or within `documents` that a separator opens.

    Raises:
        UserError: the family cannot attend within documents.
    """
    if attention == "documents":
        if not get(family).documents:
            raise UserError(
                f"training.attention: found documents, which the family {family} cannot do; "
                "expected stream"
            )
        model.separator = separator


def export(model: LanguageModel, shape: Shape) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and weights that `AutoModelForCausalLM.from_pretrained` opens."""
    family = get(shape.family)
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous().clone()
        for name, tensor in family.state(model).items()
    }
    for name, factor in family.factors(shape).items():
        weights[name] *= factor
    return family.config(shape), weights


def load_weights(model: LanguageModel, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
    """Fill a model from what `export` gave (the names of its transformers class).

    Raises `UserError` when a weight is missing or has another shape.
    """
    family = get(shape.family)
    factors = family.factors(shape)
    with torch.no_grad():
        for name, view in family.state(model).items():
            found = weights.get(name)
            if found is None or found.shape != view.shape:
                what = "missing" if found is None else f"of shape {tuple(found.shape)}"
                raise UserError(f"weight {name}: {what}, expected shape {tuple(view.shape)}")
            # The tensors of `state` are views of the parameters, transposed ones included.
            view.copy_(found / factors[name] if name in factors else found)
