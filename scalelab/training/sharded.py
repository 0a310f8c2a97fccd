"""Fully sharded data parallelism (Zhao et al. 2023), for models that one device does not hold.

torch's `fully_shard` splits parameters, gradients and the state of the optimiser over the processes
and gathers one block at a time. The optimiser here has the methods of `FlatAdamW`, and its whole
state has the same layout.
"""

import math
from typing import Any

import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from scalelab.training.distributed import World
from scalelab.training.optimizer import AdamW, ordered


class ShardedAdamW:
    """AdamW over this process's shards of a model whose blocks lie in `model.blocks`."""

    def __init__(self, model: Any, settings: AdamW, world: World) -> None:
        self.settings, self.world = settings, world
        # Parameters are new objects once sharded: names stay.
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        parameters, decayed = ordered(model)
        order = [names[id(parameter)] for parameter in parameters]
        mesh = torch.distributed.init_device_mesh(world.device.type, (world.size,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        sharded = dict(model.named_parameters())
        self.parameters = [sharded[name] for name in order]
        self.first = [torch.zeros_like(_local(p)) for p in self.parameters]
        self.second = [torch.zeros_like(_local(p)) for p in self.parameters]
        self.steps = torch.zeros((), dtype=torch.float32, device=world.device)
        self.decayed = decayed

    def step(self, lr: float, scale: float, clip: float, world: World) -> float:
        """As `FlatAdamW.step`. Gradients are means over the processes already, so times their
        number they are the sums.
        """
        gradients = [_local(p.grad) for p in self.parameters]
        scale = scale / world.size
        squares = sum(float(g.float().square().sum()) for g in gradients)
        norm = math.sqrt(world.total([squares])[0]) / scale
        if math.isfinite(norm):
            for gradient in gradients:
                gradient.mul_(min(1.0, clip / (norm + 1e-6)) / scale)
            self.steps += 1
            for part in (slice(None, self.decayed), slice(self.decayed, None)):
                torch._fused_adamw_(
                    [_local(p) for p in self.parameters[part]],
                    gradients[part],
                    self.first[part],
                    self.second[part],
                    [],
                    [self.steps for _ in gradients[part]],
                    **self.settings.update(lr, decayed=part.start is None),
                )
        self.forget()
        return norm

    def forget(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """The whole state, gathered by all processes into the memory of the first one's host."""
        return {
            "values": self._whole([_local(p) for p in self.parameters]),
            "first": self._whole(self.first),
            "second": self._whole(self.second),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave."""
        self.steps.copy_(state["steps"])
        values = [_local(p) for p in self.parameters]
        for name, targets in (("values", values), ("first", self.first), ("second", self.second)):
            offset = 0
            for parameter, target in zip(self.parameters, targets, strict=True):
                part = state[name][offset : offset + parameter.numel()].to(self.world.device)
                like = distribute_tensor(
                    part.view(parameter.shape), parameter.device_mesh, parameter.placements
                )
                target.copy_(_local(like))
                offset += parameter.numel()

    def _whole(self, shards: list[torch.Tensor]) -> torch.Tensor:
        gathered = []
        for shard, p in zip(shards, self.parameters, strict=True):
            whole = DTensor.from_local(
                *(shard, p.device_mesh, p.placements), shape=p.shape, stride=p.stride()
            ).full_tensor()
            if self.world.first:
                gathered.append(whole.detach().flatten().cpu())
        return torch.cat(gathered) if gathered else torch.empty(0)


def _local(tensor: Any) -> torch.Tensor:
    """The shard of this process, without its history."""
    shard: torch.Tensor = tensor.to_local()
    return shard.detach()
