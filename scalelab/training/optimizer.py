"""AdamW over one flat buffer: a step is a handful of kernels, however many tensors there are."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scalelab.training.distributed import ALONE, World


@dataclass(frozen=True)
class AdamW:
    """Its settings. AdamW as in Loshchilov and Hutter 2019, algorithm 2.

    matrix_rate multiplies the learning rate of matrices other than embeddings (muP, Yang et al.
    2022, table 3: base width / width), and leaves their decay, lr x weight_decay, as it is.
    """

    beta1: float
    beta2: float
    weight_decay: float
    matrix_rate: float = 1.0
    eps: float = 1e-8

    def update(self, lr: float, decayed: bool) -> dict[str, Any]:
        """Keywords of torch's fused kernel for matrices (decayed) or for the rest."""
        rate = self.matrix_rate if decayed else 1.0
        return {
            "lr": lr * rate,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "weight_decay": self.weight_decay / rate if decayed else 0.0,
            "eps": self.eps,
            "amsgrad": False,
            "maximize": False,
        }


def ordered(model: nn.Module) -> tuple[list[nn.Parameter], int]:
    """All parameters, those that are decayed first, and how many these are.

    Matrices are decayed; embeddings, biases and norms are not.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    parameters = list(model.parameters())
    decayed = [p for p in parameters if p.ndim >= 2 and id(p) not in embeddings]
    taken = {id(p) for p in decayed}
    return decayed + [p for p in parameters if id(p) not in taken], len(decayed)


BLOCK = 1 << 16


def norm_of(flat: torch.Tensor) -> float:
    """Euclidean norm of (n,) fp32 numbers, to some 1e-6 of it at any n.

    Norms of blocks, then their norm in fp64: torch adds up all squares one after another in fp32,
    which lacks 4e-4 of the norm at n = 1e7 and 1% at 1e8.
    """
    whole = len(flat) - len(flat) % BLOCK
    blocks = torch.linalg.vector_norm(flat[:whole].view(-1, BLOCK), dim=1)
    rest = torch.linalg.vector_norm(flat[whole:]).view(1)
    return float(torch.cat([blocks, rest]).cpu().double().norm())


class FlatAdamW:
    """AdamW with torch's fused kernel over one buffer.

    All parameters become views of one fp32 buffer and their gradients views of another.
    `torch.optim.AdamW` computes the same but imports the compiler, 1.4 s a process.
    """

    def __init__(self, model: nn.Module, settings: AdamW) -> None:
        self.settings = settings
        parameters, decayed = ordered(model)
        self.values = torch.cat([p.detach().flatten() for p in parameters])
        self.gradients = torch.zeros_like(self.values)
        self.first = torch.zeros_like(self.values)
        self.second = torch.zeros_like(self.values)
        self.steps = torch.zeros((), dtype=torch.float32, device=self.values.device)
        self.boundary = sum(p.numel() for p in parameters[:decayed])
        offset = 0
        for parameter in parameters:
            part = slice(offset, offset + parameter.numel())
            parameter.data = self.values[part].view_as(parameter)
            parameter.grad = self.gradients[part].view_as(parameter)
            offset += parameter.numel()

    def step(self, lr: float, scale: float, clip: float, world: World = ALONE) -> float:
        """Sum gradients over the processes, divide by `scale`, clip their norm, update.

        Returns the norm before clipping. One that is not finite changes nothing: what that means
        is the caller's to say. Gradients are zero afterwards.
        """
        world.add(self.gradients)
        norm = norm_of(self.gradients) / scale
        if math.isfinite(norm):
            self.gradients.mul_(min(1.0, clip / (norm + 1e-6)) / scale)
            self.steps += 1
            for part in (slice(None, self.boundary), slice(self.boundary, None)):
                torch._fused_adamw_(
                    [self.values[part]],
                    [self.gradients[part]],
                    [self.first[part]],
                    [self.second[part]],
                    [],
                    [self.steps],
                    **self.settings.update(lr, decayed=part.start is None),
                )
        self.forget()
        return norm

    def forget(self) -> None:
        """Set the gradients to zero."""
        self.gradients.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that a resumed run needs, as tensors."""
        return {
            "values": self.values,
            "first": self.first,
            "second": self.second,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave, in place, so that the model's views stay views."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
