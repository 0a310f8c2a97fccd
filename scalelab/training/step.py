"""One optimiser step: micro-batches that fit, summed by token, over all processes of the run."""

import math
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from scalelab.errors import UserError
from scalelab.models.corruption import IGNORED
from scalelab.plan.families import Shape
from scalelab.plan.passes import Pass, held, quick_sequences
from scalelab.plan.precisions import NARROW
from scalelab.training import machine
from scalelab.training.distributed import World
from scalelab.training.paths import ComputePath, autocast

USABLE = 0.8
"""Share of the free memory that activations may take."""
FIRST_SCALE, LEAST_SCALE, PATIENCE = 2.0**16, 1.0, 2000


class OutOfMemory(Exception):
    """No memory even for one sequence at a time."""


@dataclass
class LossScale:
    """Dynamic loss scaling for fp16 (Micikevicius et al. 2018, section 3.2).

    A step whose gradients overflow is skipped and the scale halved; after PATIENCE good steps it
    is doubled. Other precisions have none.
    """

    value: float = 1.0
    good_steps: int = 0
    moves: bool = False

    def after(self, finite: bool) -> bool:
        """Take note of a step; whether a step that is not finite is only to be skipped."""
        if not self.moves:
            return finite
        if finite:
            self.good_steps += 1
            if self.good_steps >= PATIENCE:
                self.value, self.good_steps = self.value * 2, 0
            return True
        self.value, self.good_steps = self.value / 2, 0
        return self.value >= LEAST_SCALE


def loss_scale(precision: str) -> LossScale:
    """The scale that a precision starts with."""
    return LossScale(FIRST_SCALE, moves=True) if precision == "fp16" else LossScale()


def micro_sequences(
    shape: Shape,
    sequences: int,
    path: ComputePath,
    where: torch.device,
    recomputed: bool = False,
    each: int = 0,
) -> int:
    """Sequences of one forward pass: as many as are quick and fit the free memory.

    each: bytes that a sequence takes beside what a pass holds.
    """
    width = 2 if path.precision in NARROW else 4
    how = Pass(1, width, path.by_hand, recomputed, device=where.type)
    room = USABLE * machine.free_memory_bytes(where)
    quick = quick_sequences(shape, sequences, where.type)

    def needed(count: int) -> int:
        return held(shape, replace(how, sequences=count)).peak + each * count

    return max(1, bisect(range(1, quick + 1), room, key=needed))


class Stepper:
    """Forward, backward and update. `micro` is halved when memory runs out, and stays so.

    model: gives the summed loss; or what is minimised and, beside it, the loss to be told.

    collective: the processes take every pass together (sharding), so none can repeat one alone.
    """

    def __init__(
        self,
        model: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]],
        optimizer: Any,
        path: ComputePath,
        world: World,
        micro: int,
        clip: float,
        say: Callable[[str], None],
        collective: bool = False,
    ) -> None:
        self.model, self.optimizer, self.path, self.world = model, optimizer, path, world
        self.micro, self.clip, self.say, self.collective = micro, clip, say, collective
        self.scale = loss_scale(path.precision)

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, lr: float
    ) -> tuple[float, float]:
        """Summed loss in nats over (sequences, T) and norm of the mean gradient.

        Targets that are `IGNORED` have no loss and are not of the mean.

        A norm that is not finite has changed nothing; where the scale of fp16 was at fault the
        step is skipped and its norm is 0.

        Raises:
            OutOfMemory: on any of the processes, even with one sequence at a time.
            UserError: there is a loss and no gradient, as compiled by torch 2.11 on CUDA.
        """
        own, divisor = self.world.share(len(inputs)), self.divisor(targets)
        # The scale is of the mean loss of the batch; gradients are those of the sum.
        factor = self.scale.value / divisor if self.scale.moves else 1.0
        short = ""
        try:
            loss = self._sum(inputs[own], targets[own], factor)
        except OutOfMemory as error:
            loss, short = 0.0, str(error)
        loss, lacking = self.world.total([loss, float(bool(short))])
        if lacking:
            raise OutOfMemory(short or "another process of the run has too little memory")
        self.disturb()
        norm = self.optimizer.step(lr, divisor * factor, self.clip, self.world)
        if norm == 0 and loss > 0:
            raise UserError(
                f"training: the gradient is zero at a loss of {loss / divisor:.3f} nats, so that "
                "nothing is learned; set training.compile to false or take another version of torch"
            )
        finite = math.isfinite(norm)
        if self.scale.after(finite) and not finite and math.isfinite(loss):
            norm = 0.0
        return loss, norm

    def divisor(self, targets: torch.Tensor) -> int:
        """What the summed gradient is divided by: targets of the batch that have a loss."""
        return int((targets != IGNORED).sum())

    def disturb(self) -> None:
        """What is done to the summed gradient before the update: nothing."""

    def _sum(self, inputs: torch.Tensor, targets: torch.Tensor, factor: float) -> float:
        while True:
            try:
                return self._accumulate(inputs, targets, factor)
            except (RuntimeError, MemoryError) as error:
                _refuse_no_compiler(error)
                if not is_out_of_memory(error):
                    raise
                message = (str(error) or "out of memory").splitlines()[0]
            if self.collective:
                raise UserError(
                    f"out of memory with {self.micro} sequences at once: with compute.sharding a "
                    "pass of one process cannot be repeated; use more processes or a shorter "
                    "model.context"
                )
            self.optimizer.forget()
            if self.micro == 1:
                raise OutOfMemory(message)
            if self.world.device.type == "cuda":
                torch.cuda.empty_cache()  # what the failed pass left
            self.micro = max(1, self.micro // 2)
            self.say(f"out of memory, {self.micro} sequences at once from now")

    def _accumulate(self, inputs: torch.Tensor, targets: torch.Tensor, factor: float) -> float:
        total, where = 0.0, self.world.device
        for start in range(0, len(inputs), self.micro):
            part = slice(start, start + self.micro)
            with autocast(where, self.path):
                found = self.model(inputs[part].to(where), targets[part].to(where))
            objective, loss = found if isinstance(found, tuple) else (found, found)
            (objective if factor == 1 else objective * factor).backward()
            total += loss.item()
        return total


def _refuse_no_compiler(error: Exception) -> None:
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        raise UserError(
            f"training.compile: torch.compile fails here ({str(error).strip().splitlines()[0]}); "
            "set it to false or install a C++ compiler"
        ) from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory has run out, in the words of processors, CUDA or MPS."""
    told = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in told for words in ("allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc")
    )
