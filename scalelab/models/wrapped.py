"""Models of transformers, trained as they are: what their families share.

Shape suffixes: B sequences, T tokens, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.corruption import IGNORED
from scalelab.models.registry import LanguageModel
from scalelab.plan.families import Shape


class Wrapped(LanguageModel):
    """A model of transformers behind what training and evaluation ask for.

    make: gives the model, freshly drawn. A family gives `predicted` and `blocks`.
    """

    def __init__(self, shape: Shape, make: Callable[[], Any]) -> None:
        super().__init__()
        self.shape, self.make = shape, make
        self.head_dtype = torch.float32
        with torch.random.fork_rng(devices=[]):
            self.inner = make()

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The layers, for recomputing and sharding."""

    @abstractmethod
    def predicted(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Logits (n, V) of the targets that are not ignored, in their order."""

    def forward(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Summed loss in nats of the targets that are not ignored."""
        wanted = targets_BT[targets_BT != IGNORED]
        logits = self.predicted(inputs_BT, targets_BT).float()
        return F.cross_entropy(logits, wanted, reduction="sum")

    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Loss in nats by token, (B, T); 0 where a target is ignored."""
        told_BT = targets_BT != IGNORED
        logits = self.predicted(inputs_BT, targets_BT).float()
        found = F.cross_entropy(logits, targets_BT[told_BT], reduction="none")
        return torch.zeros(targets_BT.shape, device=found.device).masked_scatter(told_BT, found)


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """Weights as transformers draws them for the class, from the seed of the generator."""
    assert isinstance(model, Wrapped)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        model.inner.load_state_dict(model.make().state_dict())


def described(settings: Any, name: str) -> dict[str, Any]:
    """config.json of a class `name` with these settings."""
    told: dict[str, Any] = settings.to_diff_dict()
    return {
        **told,
        "architectures": [name],
        "model_type": settings.model_type,
        "dtype": "float32",
    }


def state(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights under transformers' names, tied ones once."""
    assert isinstance(model, Wrapped)
    return dict(model.inner.named_parameters())
