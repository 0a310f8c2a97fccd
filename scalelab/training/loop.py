"""The training loop: fp32 master weights, one epoch, exact resume, a status instead of a crash."""

import bisect
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from scalelab.errors import UserError, first_line
from scalelab.files import write_text
from scalelab.models import build
from scalelab.models.registry import LanguageModel
from scalelab.plan.families import Counts, Shape, count
from scalelab.plan.passes import FP32
from scalelab.seeds import stream
from scalelab.training import fp8, machine, paths, state
from scalelab.training.batches import batches_for
from scalelab.training.budget import budget_of
from scalelab.training.distil import Distilled
from scalelab.training.distributed import World
from scalelab.training.optimizer import AdamW, FlatAdamW, ordered
from scalelab.training.outcome import Outcome
from scalelab.training.private import PrivateStepper
from scalelab.training.progress import FILE, Interrupted, Progress, orphaned
from scalelab.training.recompute import recompute_blocks
from scalelab.training.schedule import learning_rate
from scalelab.training.step import (
    LossScale,
    OutOfMemory,
    Stepper,
    is_out_of_memory,
    micro_sequences,
)
from scalelab.training.stretches import change, continued, from_here

RECORDS = 150
"""Lines of metrics in a run, about."""
RECENT_SECONDS = 10.0
"""Progress tells the mean of that time."""
ORPHAN_SECONDS = 1.0
"""How often a run looks whether the workflow that started it is still there."""
WINDOW, WORSE = 10, 1.05
"""A run has diverged when the mean loss of so many steps is so many times that of step 1."""


class Trainer:
    """One run: built from its specification, stepped to its end."""

    def __init__(
        self,
        spec: dict[str, Any],
        tokens: Any,
        folder: Path,
        identity: str,
        report: Callable[[str], None],
        label: str,
        world: World | None = None,
        trunk_identity: str = "",
        teacher: LanguageModel | None = None,
        begin: Callable[[LanguageModel], None] | None = None,
    ) -> None:
        self.teacher = teacher
        self.spec, self.folder, self.identity = spec, folder, identity
        self.trunk_identity = trunk_identity
        self.world = world or World(device=machine.device())
        self.sharded = bool(spec.get("sharding")) and self.world.size > 1
        self.report = report if self.world.first else silent
        self.label = label
        told = folder.parent / FILE if self.world.first else None
        self.progress = Progress(self.report, label, int(spec["training"]["steps"]), told)
        self.recipe = spec["training"]
        self.steps = int(self.recipe["steps"])
        self.shape = Shape(**spec["model"])
        self.counts: Counts = count(self.shape)
        self.batches = batches_for(self.shape, self.recipe, spec["seed"], tokens)
        self.batches.require(self.steps)
        blocks = len(self.batches.pool)
        self.budget = self.world.of_first(
            budget_of(self.recipe, self.batches.sequences, blocks) if self.world.first else None
        )
        check_shares(self.batches.sequences, self.world.size, self.sharded)
        self.model = build(self.shape, stream(spec["seed"], "initial weights"))
        if begin is not None:
            begin(self.model)
        fp8.convert(self.model, self.recipe["precision"], self.world.device)
        self.recomputed = bool(self.recipe.get("checkpoint_activations"))
        if self.recomputed:
            recompute_blocks(self.model)
        self.optimizer = self._optimizer()
        where = self.world.device
        path = self.world.of_first(
            paths.choose(self.shape, self.recipe["precision"], where) if self.world.first else None
        )
        # The compiler does what is done by hand; gradients by sequence are taken by torch.
        if self.recipe.get("compile") or self.budget:
            path = replace(path, by_hand=False)
        each = FP32 * self.counts.n_total if self.budget else 0
        held = replace(path, by_hand=path.by_hand or bool(self.budget))  # all products of attention
        micro = micro_sequences(
            *(self.shape, self.batches.sequences, held, where, self.recomputed, each)
        )
        self._compute(path, self.world.least(micro))
        self.history: list[tuple[float, float, float]] = []
        """Of each step: summed loss in nats, norm of the gradient, seconds since the start."""
        self.resumed_from: list[int] = []
        self.branched_at: int | None = None
        self.stretches = [from_here(0, self.world)]
        self.ended: tuple[str, str] | None = None
        """How a trunk ended before its steps were done: so do the runs that branch from it."""
        self.checkpoint_bytes = 0

    def _optimizer(self) -> Any:
        settings = AdamW(
            beta1=self.recipe["beta1"],
            beta2=self.recipe["beta2"],
            weight_decay=self.recipe["weight_decay"],
            matrix_rate=self.shape.mup_base / self.shape.width if self.shape.mup_base else 1.0,
        )
        if self.sharded:
            from scalelab.training.sharded import ShardedAdamW

            return ShardedAdamW(self.model, settings, self.world)
        self.model.to(self.world.device)
        return FlatAdamW(self.model, settings)

    def _compute(self, path: paths.ComputePath, micro: int) -> None:
        path.apply(self.model)
        model: Any = torch.compile(self.model) if self.recipe.get("compile") else self.model
        if self.teacher is not None:
            how = self.recipe["distil"]
            model = Distilled(self.model, self.teacher, how["weight"], how["temperature"])
        parts = (model, self.optimizer, path, self.world, micro, self.recipe["clip"], self._say)
        if self.budget is None:
            self.stepper = Stepper(*parts, collective=self.sharded)
        else:
            self.stepper = PrivateStepper(
                *parts,
                budget=self.budget,
                sequences=self.batches.sequences,
                seed=self.spec["seed"],
                before=self._loss_before,
            )

    def _say(self, text: str) -> None:
        self.report(f"{self.label}: {text}")

    def _loss_before(self) -> float:
        """Summed loss of the last step; before there is one, that of guessing."""
        guess = self.recipe["batch_tokens"] * math.log(self.shape.vocab)
        return self.history[-1][0] if self.history else guess

    def run(
        self, checkpoint_seconds: float, stop: Callable[[], bool], start: Path | None = None
    ) -> Outcome:
        """Train to the end, or to the first step that is no longer finite.

        start: the state of a trunk, where there is no state of the run itself yet.

        Raises:
            Interrupted: `stop` asked for it, or the workflow that started the run is gone.
            UserError: the processes of the run see different states.
        """
        with self.progress:
            self.progress.begin(0, [])
            if not self._resume() and start is not None:
                self._branch(start)
            if self.world.total([float(self.done != self.world.of_first(self.done))])[0]:
                raise UserError(
                    f"{self.folder}: the processes of the run see different states, expected a "
                    "folder that all hosts share"
                )
            if self.ended:
                return self._end(*self.ended)
            self.progress.begin(self.done, self._records())
            return self._steps(checkpoint_seconds, stop)

    def _steps(self, checkpoint_seconds: float, stop: Callable[[], bool]) -> Outcome:
        every = record_every(self.steps)
        started = saved = time.monotonic()
        looked = -math.inf
        before = self.seconds
        while self.done < self.steps:
            lr = self._rate(self.done)
            try:
                loss, norm = self.stepper(*self.batches.step(self.done), lr)
            except OutOfMemory as error:
                return self._end("oom", f"step {self.done + 1}: {error}")
            except (RuntimeError, MemoryError) as error:  # in the update, or while a batch is read
                if self.world.size > 1 or not is_out_of_memory(error):
                    raise
                return self._end("oom", f"step {self.done + 1}: {first_line(error)}")
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = "loss" if not math.isfinite(loss) else "gradient"
                return self._end("diverged", f"step {self.done + 1}: the {what} is not finite")
            now = time.monotonic()
            self.history.append((loss, norm, before + now - started))
            worse = self._worse_than_at_start()
            if worse:
                return self._end("diverged", worse)
            if self.done % every == 0:
                self.progress.add(self._record(self.done - every, self.done))
            if self.progress.due():
                self._show()
            leave, save = stop(), now - saved > checkpoint_seconds
            if now - looked > ORPHAN_SECONDS:
                looked, leave = now, leave or orphaned()
            # What one process was asked, all do.
            leave, save = (bool(v) for v in self.world.total([float(leave), float(save)]))
            if self.done < self.steps and (leave or save):
                self._save()
                saved = time.monotonic()
                if leave:
                    raise Interrupted(f"{self.label}: stopped at step {self.done:,}, state saved")
        return self._end("ok", None)

    def _show(self) -> None:
        """Tell of the last seconds."""
        since = bisect.bisect(self.history, self.seconds - RECENT_SECONDS, key=lambda row: row[2])
        recent = self._record(min(since, self.done - 1), self.done)
        speed = recent["tokens_per_second"]
        left = (self.steps - self.done) * self.recipe["batch_tokens"] / max(speed, 1e-9)
        self.progress.show(self.done, recent["loss_nats"], speed, left)

    @property
    def done(self) -> int:
        """Optimiser steps taken."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Time in the loop so far, over all resumes and with that of the trunk."""
        return self.history[-1][2] if self.history else 0.0

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.steps, self.recipe["lr"], self.recipe["schedule"])

    def trained(self) -> LanguageModel:
        """The model with its weights whole; to be called by all processes of the run."""
        if isinstance(self.optimizer, FlatAdamW):
            return self.model
        model, values = build(self.shape, seed=0), self.optimizer.state()["values"]
        with torch.no_grad():
            for parameter in ordered(model)[0] if self.world.first else ():
                parameter.copy_(values[: parameter.numel()].view_as(parameter))
                values = values[parameter.numel() :]
        return model

    def _worse_than_at_start(self) -> str | None:
        """The sentence of a run that has diverged.

        Looks at stretches that do not depend on the length of the run: a run and its trunk are
        judged alike.
        """
        if self.done % WINDOW or self.done <= self.recipe["schedule"]["warmup_steps"]:
            return None
        recent = math.fsum(loss for loss, _, _ in self.history[-WINDOW:])
        recent /= WINDOW * self.batches.predicted
        first = self.history[0][0] / self.batches.predicted
        if "init" in self.recipe:  # a start that is good already says little of what is bad
            first = max(first, math.log(self.shape.vocab))
        if recent <= WORSE * first:
            return None
        than = "that of guessing" if "init" in self.recipe else "step 1"
        return f"step {self.done}: loss {recent:.3f} nats is above {than} ({first:.3f})"

    def _record(self, start: int, end: int) -> dict[str, Any]:
        """The line of metrics for steps start + 1 to end."""
        nats = math.fsum(loss for loss, _, _ in self.history[start:end])
        before = self.history[start - 1][2] if start else 0.0
        elapsed = max(self.history[end - 1][2] - before, 1e-9)
        batch = self.recipe["batch_tokens"]
        return {
            "step": end,
            "tokens": end * batch,
            "flops": end * batch * self.counts.training_flops,
            "loss_nats": nats / ((end - start) * self.batches.predicted),
            "lr": self._rate(end - 1),
            "grad_norm": self.history[end - 1][1],
            "tokens_per_second": round((end - start) * batch / elapsed, 1),
            "seconds": round(self.history[end - 1][2], 3),
        }

    def _records(self) -> list[dict[str, Any]]:
        """All lines of metrics: the first step, every so many, the last one."""
        every = record_every(self.steps)
        ends = sorted({*range(every, self.done + 1, every), *([1, self.done] if self.done else [])})
        return [self._record(*pair) for pair in zip([0, *ends], ends, strict=False)]

    def _resume(self) -> bool:
        found, notes = state.load_newest(self.folder, self.identity)
        for note in notes:
            self.report(f"{self.label}: {note}")
        if found is None:
            return False
        self._take_over(found)
        self.resumed_from = [*found["resumed_from"], self.done]
        self.branched_at = found["branched_at"]
        self.report(
            f"{self.label}: taken up again at step {self.done:,} of {self.steps:,}"
            + change(found["stretches"], self.stretches)
        )
        return True

    def _branch(self, trunk: Path) -> None:
        """Go on from the state of a trunk."""
        try:
            found = state.load(trunk, self.trunk_identity)
        except UserError as error:  # a run ends the same either way
            self.report(f"{self.label}: {error}; trained from its own start")
            return
        self._take_over(found)
        self.ended = tuple(found["ended"]) if found["ended"] else None
        self.branched_at = self.done
        self.report(f"{self.label}: from the trunk at step {self.done:,} of {self.steps:,}")

    def _take_over(self, found: dict[str, Any]) -> None:
        self.optimizer.restore(found["optimizer"])
        self.history = [(row[0], row[1], row[2]) for row in found["history"].tolist()]
        path = paths.ComputePath(**found["path"])
        if self.world.device.type != "cpu":  # of a run that began on a processor
            path = replace(path, by_hand=False)
        self._compute(path, found["micro"])
        here = from_here(self.done, self.world)
        self.stretches = continued(found["stretches"], here)
        self.stepper.scale = LossScale(**found["scale"])

    def _content(self) -> dict[str, Any]:
        """What a state holds; gathered from all processes where the optimiser is sharded."""
        return {
            "optimizer": self.optimizer.state(),
            "history": torch.tensor(self.history, dtype=torch.float64).view(-1, 3),
            "path": asdict(self.stepper.path),
            "micro": self.stepper.micro,
            "stretches": self.stretches,
            "scale": asdict(self.stepper.scale),
        }

    def _save(self) -> None:
        content = self._content()
        if self.world.first:
            content |= {"resumed_from": self.resumed_from, "branched_at": self.branched_at}
            self.checkpoint_bytes = state.save(
                self.folder, self.done, {"identity": self.identity, **content}
            )
        self.world.wait()  # none leaves while the first one still writes

    def save_trunk(self, out: Path, outcome: Outcome) -> None:
        """Write the state for runs to branch from; to be called by all processes."""
        content = self._content()
        if self.world.first:
            ended = None if outcome.status == "ok" else [outcome.status, outcome.reason]
            state.write(out, {"identity": self.trunk_identity, "ended": ended, **content})

    def _end(self, status: str, reason: str | None) -> Outcome:
        return Outcome(
            status,
            reason,
            self.done,
            self.seconds,
            self.stepper.path,
            self.stepper.micro,
            self._records(),
            self.checkpoint_bytes,
            self.resumed_from,
            self.branched_at,
            self.stretches,
            self.budget,
        )


def check_shares(sequences: int, processes: int, sharded: bool) -> None:
    """Raise `UserError` where the processes of a run cannot share its batches."""
    if sequences < processes or (sharded and sequences % processes):
        what = "a whole number" if sharded else "at least one"
        raise UserError(
            f"compute.large_processes: {processes} processes share batches of {sequences} "
            f"sequences, expected {what} for each"
        )


def record_every(steps: int) -> int:
    """Steps between two lines of metrics."""
    return max(1, steps // RECORDS)


def write_metrics(path: Path, records: list[dict[str, Any]]) -> None:
    """Write metrics as one JSON object a line."""
    write_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


def silent(_: str) -> None:
    """What processes other than the first report."""


__all__ = ["Interrupted", "Outcome", "Trainer", "record_every", "silent", "write_metrics"]
