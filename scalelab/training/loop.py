"""The training loop: fp32 master weights, one epoch, exact resume, a status instead of a crash."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from scalelab.errors import UserError
from scalelab.files import write_text
from scalelab.models import build
from scalelab.models.registry import LanguageModel
from scalelab.plan.families import Counts, Shape, count
from scalelab.seeds import stream
from scalelab.training import machine, paths, state
from scalelab.training.batches import Batches
from scalelab.training.distributed import World
from scalelab.training.optimizer import AdamW, FlatAdamW
from scalelab.training.progress import Progress, orphaned
from scalelab.training.schedule import learning_rate
from scalelab.training.step import LossScale, OutOfMemory, Stepper, micro_sequences

RECORDS = 150
"""Lines of metrics in a run, about."""
ORPHAN_SECONDS = 1.0
"""How often a run looks whether the workflow that started it is still there."""
WORSE = 1.05
"""A run has diverged when its loss is this many times that of step 1: one batch alone is noisy."""


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


@dataclass
class Outcome:
    """How a run ended."""

    status: str
    """ok, diverged or oom."""
    reason: str | None
    """A sentence for statuses other than ok."""
    steps: int
    """Optimiser steps done."""
    seconds: float
    """Time in the loop, over all resumes."""
    path: paths.ComputePath
    """Precision, and how gradients were computed."""
    micro: int
    """Sequences of one forward pass at the end."""
    records: list[dict[str, Any]]
    """Lines of metrics."""
    checkpoint_bytes: int
    """Size of the last resume state; 0 when none was needed."""
    resumed_from: list[int] = field(default_factory=list)
    """Steps at which the run was taken up again."""


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
    ) -> None:
        self.spec, self.folder, self.identity = spec, folder, identity
        self.world = world or World(device=machine.device())
        self.report = report if self.world.first else _silent
        self.label = label
        self.recipe = spec["training"]
        self.steps = int(self.recipe["steps"])
        self.shape = Shape(**spec["model"])
        self.counts: Counts = count(self.shape)
        self.batches = Batches(
            tokens, self.shape.context, self.recipe["batch_tokens"], spec["seed"]
        )
        self.batches.require(self.steps)
        if self.batches.sequences < self.world.size:
            raise UserError(
                f"compute.large_processes: {self.world.size} processes share batches of "
                f"{self.batches.sequences} sequences, expected at least one for each"
            )
        self.model = build(self.shape, stream(spec["seed"], "initial weights"))
        self.model.to(self.world.device)
        self.optimizer = self._optimizer()
        path = paths.choose(
            self.shape, self.recipe["precision"], self.world.device, spec.get("threads", 1)
        )
        micro = micro_sequences(self.shape, self.batches.sequences, path, self.world.device)
        self._compute(path, micro)
        self.done = 0
        self.seconds = 0.0
        self.records: list[dict[str, Any]] = []
        self.open_nats, self.open_tokens = 0.0, 0  # since the last record
        self.resumed_from: list[int] = []
        self.checkpoint_bytes = 0

    def _optimizer(self) -> Any:
        settings = AdamW(
            beta1=self.recipe["beta1"],
            beta2=self.recipe["beta2"],
            weight_decay=self.recipe["weight_decay"],
            matrix_rate=self.shape.mup_base / self.shape.width if self.shape.mup_base else 1.0,
        )
        if self.spec.get("sharding") and self.world.size > 1:
            from scalelab.training.sharded import ShardedAdamW

            return ShardedAdamW(self.model, settings, self.world)
        return FlatAdamW(self.model, settings)

    def _compute(self, path: paths.ComputePath, micro: int) -> None:
        path.apply(self.model)
        model: Any = torch.compile(self.model) if self.recipe.get("compile") else self.model
        self.stepper = Stepper(
            *(model, self.optimizer, path, self.world, micro, self.recipe["clip"]),
            lambda text: self.report(f"{self.label}: {text}"),
        )

    def run(self, checkpoint_seconds: float, stop: Callable[[], bool]) -> Outcome:
        """Train to the end, or to the first step that is no longer finite.

        Raises:
            Interrupted: `stop` asked for it, or the workflow that started the run is gone.
        """
        self._resume()
        every = max(1, self.steps // RECORDS)
        progress = Progress(self.report, self.label, self.steps)
        started = saved = time.monotonic()
        looked = -math.inf
        before = self.seconds
        while self.done < self.steps:
            lr = learning_rate(self.done, self.steps, self.recipe["lr"], self.recipe["schedule"])
            try:
                loss, norm = self.stepper(*self.batches.step(self.done), lr)
            except OutOfMemory as error:
                return self._end("oom", f"step {self.done + 1}: {error}")
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = "loss" if not math.isfinite(loss) else "gradient"
                return self._end("diverged", f"step {self.done + 1}: the {what} is not finite")
            self.done += 1
            self.open_nats += loss
            self.open_tokens += self.recipe["batch_tokens"]
            now = time.monotonic()
            self.seconds = before + now - started
            if self.done == 1 or self.done % every == 0 or self.done == self.steps:
                mean = self._record(lr, norm)
                if self._worse_than_at_start(mean):
                    first = self.records[0]["loss_nats"]
                    return self._end(
                        "diverged",
                        f"step {self.done}: loss {mean:.3f} nats is above step 1 ({first:.3f})",
                    )
                speed = self.records[-1]["tokens_per_second"]
                left = (self.steps - self.done) * self.recipe["batch_tokens"] / max(speed, 1e-9)
                progress.show(self.done, mean, speed, left)
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

    def trained(self) -> LanguageModel:
        """The model with its weights whole; to be called by all processes of the run."""
        if isinstance(self.optimizer, FlatAdamW):
            return self.model
        model = build(self.shape, seed=0).to(self.world.device)
        FlatAdamW(model, self.optimizer.settings).values.copy_(self.optimizer.state()["values"])
        return model

    def _worse_than_at_start(self, mean: float) -> bool:
        warm = self.done > self.recipe["schedule"]["warmup_steps"]
        return warm and len(self.records) > 2 and mean > WORSE * self.records[0]["loss_nats"]

    def _record(self, lr: float, norm: float) -> float:
        """Close the running sum; returns the mean loss since the last record."""
        loss = self.open_nats / self.open_tokens
        self.open_nats, self.open_tokens = 0.0, 0
        tokens = self.done * self.recipe["batch_tokens"]
        before = self.records[-1] if self.records else {"tokens": 0, "seconds": 0.0}
        elapsed = max(self.seconds - before["seconds"], 1e-9)
        self.records.append(
            {
                "step": self.done,
                "tokens": tokens,
                "flops": tokens * self.counts.training_flops,
                "loss_nats": loss,
                "lr": lr,
                "grad_norm": norm,
                "tokens_per_second": round((tokens - before["tokens"]) / elapsed, 1),
                "seconds": round(self.seconds, 3),
            }
        )
        return loss

    def _resume(self) -> None:
        found, notes = state.load_newest(self.folder, self.identity)
        for note in notes:
            self.report(f"{self.label}: {note}")
        if found is None:
            return
        self.optimizer.restore(found["optimizer"])
        self.done, self.seconds = found["step"], found["seconds"]
        self.records = json.loads(found["records"])
        self.open_nats, self.open_tokens = found["open_nats"], found["open_tokens"]
        self._compute(paths.ComputePath(**found["path"]), found["micro"])
        self.stepper.scale = LossScale(**found["scale"])
        self.resumed_from = [*found["resumed_from"], self.done]
        self.report(f"{self.label}: taken up again at step {self.done:,} of {self.steps:,}")

    def _save(self) -> None:
        optimizer = self.optimizer.state()  # gathered from all processes where it is sharded
        if not self.world.first:
            return
        self.checkpoint_bytes = state.save(
            self.folder,
            self.done,
            {
                "identity": self.identity,
                "optimizer": optimizer,
                "seconds": self.seconds,
                "records": json.dumps(self.records),
                "open_nats": self.open_nats,
                "open_tokens": self.open_tokens,
                "path": asdict(self.stepper.path),
                "micro": self.stepper.micro,
                "scale": asdict(self.stepper.scale),
                "resumed_from": self.resumed_from,
            },
        )

    def _end(self, status: str, reason: str | None) -> Outcome:
        return Outcome(
            status,
            reason,
            self.done,
            self.seconds,
            self.stepper.path,
            self.stepper.micro,
            self.records,
            self.checkpoint_bytes,
            self.resumed_from,
        )


def write_metrics(path: Path, records: list[dict[str, Any]]) -> None:
    """Write metrics as one JSON object a line."""
    write_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


def _silent(_: str) -> None:
    """What processes other than the first report."""
