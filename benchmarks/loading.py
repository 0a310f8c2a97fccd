"""What reading batches from the memory-mapped tokens costs a training step.

    python benchmarks/loading.py [--seconds 30] [--tokens 200M] [--warm] [--json FILE]

The smallest model of the default study, whose steps are the shortest, is trained on a file of
random tokens that the system has dropped from its memory, so that blocks come from the disk in the
order of the seed; with `--warm` it is as a corpus is that was just prepared. `share` is the time
inside `Batches.step` over the time of the training, `cpu_share` the processor time inside it: the
sharper number on a machine that has other work.
"""

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalelab import config
from scalelab.config.values import to_count
from scalelab.corpus.shards import read_tokens, write_tokens
from scalelab.files import write_json
from scalelab.plan.runs import build
from scalelab.training.batches import Batches
from scalelab.training.loop import Interrupted, Trainer

STUDY = Path(__file__).parents[1] / "config" / "quickstart.yaml"


class Clocked(Batches):
    """Batches that count the time spent in them."""

    spent = cpu = 0.0
    steps = 0

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Counted."""
        began, cpu = time.perf_counter(), time.thread_time()
        found = super().step(step)
        Clocked.spent += time.perf_counter() - began
        Clocked.cpu += time.thread_time() - cpu
        Clocked.steps += 1
        return found


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of training")
    parser.add_argument("--tokens", type=to_count, default=200_000_000, help="in the file")
    parser.add_argument("--warm", action="store_true", help="leave the file in memory")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args.tokens, args.seconds, args.warm)
    print("\n".join(f"{name}: {value}" for name, value in result.items()))
    if args.json:
        write_json(args.json, result)


def measure(folder: Path, count: int, seconds: float, warm: bool) -> dict[str, Any]:
    """One training, the time in its batches beside it."""
    plan = build(config.load(STUDY))
    run = min(plan.runs, key=lambda one: one.counts.n)
    vocab = run.spec["model"]["vocab"]
    path = folder / "train.bin"
    write_tokens(path, np.random.default_rng(0).integers(0, vocab, count, np.uint16), vocab)
    recipe = run.spec["training"]
    steps = (count - 1) // recipe["batch_tokens"] - 1
    schedule = {**recipe["schedule"], "kind": "constant"}
    spec = {**run.spec, "training": {**recipe, "steps": steps, "schedule": schedule}}
    torch.set_num_threads(1)
    tokens = read_tokens(path, vocab)
    if not warm:
        with open(path, "rb") as held:
            os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    trainer = Trainer(spec, tokens, folder / "run" / "state", "", lambda _: None, "N")
    trainer.batches = Clocked(
        tokens, spec["model"]["context"], recipe["batch_tokens"], spec["seed"]
    )
    began, cpu = time.perf_counter(), time.process_time()
    with contextlib.suppress(Interrupted):
        trainer.run(1e9, lambda: time.perf_counter() - began > seconds)
    wall, busy = time.perf_counter() - began, time.process_time() - cpu
    return {
        "N": run.counts.n,
        "tokens_in_file": count,
        "steps": Clocked.steps,
        "batch_tokens": recipe["batch_tokens"],
        "step_ms": round(1e3 * wall / Clocked.steps, 3),
        "loading_ms": round(1e3 * Clocked.spent / Clocked.steps, 4),
        "share": round(Clocked.spent / wall, 5),
        "cpu_share": round(Clocked.cpu / busy, 5),
    }


if __name__ == "__main__":
    main()
