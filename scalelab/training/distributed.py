"""Data-parallel processes of one run, as `torchrun` starts them: each has a share of every batch.

Sums are over tokens, so shares need not be equal; a step ends with one sum of the flat gradient.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed as dist

from scalelab.training.launch import MEETING

NO_PEER = (
    *("closed by peer", "reset by peer", "Broken pipe", "Timed out waiting"),
    "remote process exited",
)
"""Words in which gloo and NCCL tell that another process does not answer."""


@dataclass(frozen=True)
class World:
    """The processes of a run; one alone needs no communication."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This process's part of the rows of a batch; parts differ by one row at most."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def add(self, flat: torch.Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        if self.size > 1:
            dist.all_reduce(flat)

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over the processes, in double precision where the device has it."""
        if self.size == 1:
            return list(values)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        tensor = torch.tensor(values, dtype=dtype, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def least(self, value: int) -> int:
        """The smallest of a whole number over the processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MIN)
        return int(tensor)

    def of_first(self, value: Any) -> Any:
        """A plain value of the first process, for all."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the communication."""
        if self.size > 1:
            dist.destroy_process_group()


ALONE = World()


def join(where: torch.device) -> World:
    """The world that the environment names (WORLD_SIZE, RANK), or one process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(device=where)
    if where.type == "mps":  # gloo knows the processor alone
        where = torch.device("cpu")
    if where.type == "cuda":
        torch.cuda.set_device(where)
    dist.init_process_group(
        "nccl" if where.type == "cuda" else "gloo",
        init_method=os.environ.get(MEETING),  # of torchrun: the address and port it names
        rank=int(os.environ["RANK"]),
        world_size=size,
    )
    return World(dist.get_rank(), size, where)


@contextmanager
def leaving(world: World) -> Iterator[None]:
    """End the communication with the block, of gloo after an error too.

    A process that ends while gloo's threads still hold its connections may end by SIGABRT, which
    would hide the error.
    """
    try:
        yield
    except BaseException:
        if world.size > 1 and dist.get_backend() == "gloo":
            world.leave()
        raise
    world.leave()


def has_lost_a_process(error: Exception) -> bool:
    """Whether an error of a run of several processes says that one of the others is gone."""
    return any(words in str(error) for words in NO_PEER)
