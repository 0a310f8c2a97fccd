"""The sides of benchmarks/training.py, each stepped in a process of its own.

A side is a function of a `Job` and of `after_step`, which it calls after each training step and
which says when it is enough. `ours` is the only one that knows the engine.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

CHECKPOINT_SECONDS = 30.0
"""The default of `scalelab train`."""
PRODUCT, PROBE = 2048, 512
"""Rows of the square matrices whose product is the measured peak."""


@dataclass(frozen=True)
class Job:
    """What one process trains."""

    side: str
    """A key of SIDES."""
    precision: str
    """fp32 or bf16; auto for ours."""
    threads: int
    """Threads of torch."""
    spec: dict[str, Any]
    """A run's specification, as `scalelab.plan` makes it."""
    tokens: str
    """File of the training tokens, uint16."""
    folder: str = ""
    """Folder for whatever the side writes: every process has its own."""
    warm_seconds: float = 0.0
    """Time before the measurement, at least two steps."""
    seconds: float = 0.0
    """Time of the measurement, at least two steps."""


def ours(job: Job, after_step: Callable[[], bool]) -> str:
    """scalelab's engine. Returns the precision that it chose."""
    from scalelab.training import machine
    from scalelab.training.loop import Interrupted, Trainer

    machine.set_up(job.threads)
    recipe = {**job.spec["training"], "precision": job.precision}
    spec = {**job.spec, "training": recipe, "threads": job.threads}
    folder = Path(job.folder) / "state"
    trainer = Trainer(spec, read(job.tokens), folder, "benchmark", lambda line: None, "benchmark")
    with contextlib.suppress(Interrupted):
        trainer.run(CHECKPOINT_SECONDS, after_step)
    return trainer.stepper.path.precision


def trainer(job: Job, after_step: Callable[[], bool]) -> str:
    """transformers' Trainer on GPT2LMHeadModel: its defaults but for shape, batch and dropout."""
    from transformers import GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_training_stop = after_step()

    torch.set_num_threads(job.threads)
    recipe, context = job.spec["training"], job.spec["model"]["context"]
    arguments = TrainingArguments(
        output_dir=job.folder,
        max_steps=recipe["steps"],
        per_device_train_batch_size=recipe["batch_tokens"] // context,
        learning_rate=recipe["lr"],
        bf16=job.precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
    )
    model = GPT2LMHeadModel(gpt2_config(job.spec))
    blocks = Blocks(read(job.tokens), context)
    Trainer(model=model, args=arguments, train_dataset=blocks, callbacks=[Watch()]).train()
    return job.precision


def nanogpt(job: Job, after_step: Callable[[], bool]) -> str:
    """A loop in the style of nanoGPT."""
    from training_nanogpt import train

    torch.set_num_threads(job.threads)
    train(job.spec, read(job.tokens), job.precision, after_step)
    return job.precision


SIDES = {"ours": ours, "trainer": trainer, "nanogpt": nanogpt}


class Blocks(torch.utils.data.Dataset):
    """Consecutive blocks of `context` tokens under the names that transformers expects."""

    def __init__(self, tokens: np.ndarray, context: int) -> None:
        self.tokens, self.context = tokens, context

    def __len__(self) -> int:
        return len(self.tokens) // self.context

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        part = self.tokens[index * self.context : (index + 1) * self.context]
        ids = torch.from_numpy(part.astype(np.int64))
        return {"input_ids": ids, "labels": ids}


def gpt2_config(spec: dict[str, Any]) -> Any:
    """transformers' configuration of a shape; no dropout, as on the other sides."""
    from transformers import GPT2Config

    shape = spec["model"]
    return GPT2Config(
        n_embd=shape["width"],
        n_layer=shape["depth"],
        n_head=shape["heads"],
        n_positions=shape["context"],
        vocab_size=shape["vocab"],
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )


def read(path: str) -> np.ndarray:
    """The tokens, memory-mapped."""
    return np.memmap(path, dtype="<u2", mode="r")


class Clock:
    """Counts steps between a common start and a fixed time, and goes on while others count."""

    def __init__(self, job: Job, line: Connection) -> None:
        self.job, self.line = job, line
        self.phase, self.steps, self.began = "warm", 0, time.perf_counter()

    def after_step(self) -> bool:
        """Whether it is enough."""
        now = time.perf_counter()
        if self.phase == "measured":
            return self.line.poll()
        self.steps += 1
        wait = self.job.warm_seconds if self.phase == "warm" else self.job.seconds
        if self.steps < 2 or now - self.began < wait:
            return False
        if self.phase == "warm":
            self.line.send("ready")
            self.line.recv()
            self.phase, self.steps, self.began = "measuring", 0, time.perf_counter()
        else:
            self.line.send((self.steps, now - self.began))
            self.phase = "measured"
        return False


def work(job: Job, line: Connection) -> None:
    """A process of its own: says `ready`, is told to go, says (steps, seconds), is told to stop."""
    quiet(Path(job.folder) / "output")
    clock = Clock(job, line)
    precision = SIDES[job.side](job, clock.after_step)
    if clock.phase != "measured":
        raise RuntimeError(f"{job.side} ended after {clock.steps} steps, before its time was over")
    line.send(precision)


def quiet(path: Path) -> None:
    """Send what this process prints to a file."""
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(sink, stream)


def products(threads: int, line: Connection) -> None:
    """Send FLOP/s of a large product of matrices in fp32 and bf16 (a smaller one where slow)."""
    torch.set_num_threads(threads)
    rates = {"fp32": rate(torch.float32, PRODUCT, 5)}
    probe = rate(torch.bfloat16, PROBE, 1)
    slow = probe < rate(torch.float32, PROBE, 3) / 3
    rates["bf16"] = probe if slow else rate(torch.bfloat16, PRODUCT, 5)
    line.send(rates)


def rate(dtype: torch.dtype, rows: int, repeats: int) -> float:
    """FLOP/s of a square product: the best of several."""
    left, right = torch.randn(2, rows, rows).to(dtype).unbind(0)
    best = float("inf")
    for _ in range(repeats + 1):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * rows**3 / best


def parity(specs: list[dict[str, Any]], tokens: str, line: Connection) -> None:
    """Send the loss of ours less that of GPT2LMHeadModel, at equal weights and batch, by size."""
    from transformers import GPT2LMHeadModel, logging

    from scalelab.models import build, export
    from scalelab.plan.families import Shape

    logging.set_verbosity_error()
    differences = []
    for spec in specs:
        shape = Shape(**spec["model"])
        model = build(shape, spec["seed"])
        sequences = spec["training"]["batch_tokens"] // shape.context
        rows = read(tokens)[: sequences * shape.context].astype(np.int64)
        ids = torch.from_numpy(rows).view(sequences, shape.context)
        other = GPT2LMHeadModel(gpt2_config(spec))
        _, unexpected = other.load_state_dict(export(model, shape)[1], strict=False)
        if unexpected:
            raise RuntimeError(f"weights that GPT2LMHeadModel does not know: {unexpected}")
        with torch.no_grad():
            total = model(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
            mean = total.item() / ids[:, 1:].numel()
            differences.append(mean - other(input_ids=ids, labels=ids).loss.item())
    line.send(differences)


def start(job: Job) -> None:
    """Print the time of day at the end of the first step, and leave."""
    out = os.fdopen(os.dup(1), "w")
    quiet(Path(job.folder) / "output")

    def first() -> bool:
        print(time.time(), file=out, flush=True)
        return True

    SIDES[job.side](job, first)


def as_argument(job: Job) -> str:
    """The word on the command line of this file that stands for a job."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    start(Job(**json.loads(sys.argv[1])))
