"""Speed and memory of a training step by precision and width, on the device at hand, in one run.

    python benchmarks/precisions.py [--widths 512,1024] [--precisions fp32,bf16] [--compile]

GPT-2 shapes on tokens drawn at random; what they are changes no time. All precisions of a width lie
in the memory of the device together and take turns in rounds, after steps that are not counted;
`ratio` is the median time of a step of the first precision over that of another one. `peak` is the
most memory of the device while one precision steps, less what the others hold. With --compile each
is measured both ways (`training.compile`), and the ratio is to the first one that is not compiled.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalelab.plan.families import Shape, count
from scalelab.plan.precisions import FP8
from scalelab.training import machine
from scalelab.training.fp8 import has_fp8
from scalelab.training.loop import Trainer

VOCABULARY = 4096
WARM, ROUNDS, STEPS = 4, 3, 8


@dataclass(frozen=True)
class Row:
    """One precision at one width."""

    width: int
    N: int
    precision: str
    compiled: bool
    milliseconds: float
    """Median time of a step."""
    tokens_per_second: float
    ratio: float
    """Times as fast as the first precision, not compiled."""
    peak_bytes: int | None
    """Memory of the device that its steps take; None on a processor."""


def main() -> None:
    """Measure, print the table, write it."""
    asked = arguments()
    where = machine.device()
    machine.set_up(torch.get_num_threads())
    precisions = [
        name for name in asked.precisions if name != "fp8" or has_fp8(where) or skipped(name, where)
    ]
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    print(f"{name}, torch {torch.__version__}, {asked.batch} tokens a step of {asked.context} each")
    rows: list[Row] = []
    for width in asked.widths:
        rows += measured(width, precisions, asked, where)
        for row in rows[-len(precisions) * (1 + asked.compile) :]:
            memory = f"{row.peak_bytes / 1e9:6.2f} GB" if row.peak_bytes else ""
            how = f"{row.precision}{' compiled' if row.compiled else ''}"
            print(
                f"N = {row.N:>13,}  {how:<22} {row.milliseconds:8.1f} ms  "
                f"{row.tokens_per_second:>11,.0f} tokens/s  ratio {row.ratio:5.2f}  {memory}",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def skipped(name: str, where: torch.device) -> bool:
    """Say that a precision is left out."""
    print(f"{name}: {where.type} does not have it here")
    return False


def measured(
    width: int, precisions: list[str], asked: argparse.Namespace, where: torch.device
) -> list[Row]:
    """The rows of one width."""
    ways = [
        (name, compiled)
        for compiled in ((False, True) if asked.compile else (False,))
        for name in precisions
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainers = [
            trainer(width, *way, asked, Path(folder) / str(at)) for at, way in enumerate(ways)
        ]
        times: list[list[float]] = [[] for _ in ways]
        peaks = [stepped(one, 0, WARM, where)[1] for one in trainers]
        for turn in range(ROUNDS):
            for one, found in zip(trainers, times, strict=True):
                found += stepped(one, WARM + turn * STEPS, STEPS, where)[0]
    medians = [statistics.median(found) for found in times]
    n = count(trainers[0].shape).n
    return [
        Row(width, n, *way, 1000 * seconds, asked.batch / seconds, medians[0] / seconds, peak)
        for way, seconds, peak in zip(ways, medians, peaks, strict=True)
    ]


def trainer(
    width: int, precision: str, compiled: bool, asked: argparse.Namespace, folder: Path
) -> Trainer:
    """A run of one shape at its first step."""
    steps = WARM + ROUNDS * STEPS
    shape = Shape("gpt2", asked.depth, width, max(1, width // 64), asked.context, VOCABULARY)
    spec: dict[str, Any] = {
        "format": 1,
        "model": asdict(shape),
        "training": {
            **{"steps": steps, "batch_tokens": asked.batch, "unique_tokens": None, "lr": 3e-4},
            "schedule": {
                **{"kind": "wsd", "warmup_steps": 2, "cooldown_steps": 4, "final": 0.0},
                "share_trunk": False,
            },
            **{"weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "clip": 1.0},
            **{"precision": precision, "compile": compiled},
        },
        "seed": 1,
    }
    drawn = np.random.default_rng(1).integers(
        0, VOCABULARY, (steps + 1) * (asked.batch + asked.batch // 8)
    )
    return Trainer(spec, drawn.astype(np.uint16), folder, "benchmark", lambda _: None, "benchmark")


def stepped(
    one: Trainer, start: int, steps: int, where: torch.device
) -> tuple[list[float], int | None]:
    """Seconds of each step, and the memory that they took beside what is held otherwise."""
    held = 0
    if where.type == "cuda":
        own = sum(t.numel() * t.element_size() for t in one.optimizer.state().values())
        held = torch.cuda.memory_allocated(where) - own - one.optimizer.gradients.nbytes
        torch.cuda.reset_peak_memory_stats(where)
    seconds = []
    for step in range(start, start + steps):
        began = time.perf_counter()
        one.stepper(*one.batches.step(step), 3e-4)  # ends with the norm, a number of the host
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated(where) - held if where.type == "cuda" else None
    return seconds, peak


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--widths",
        type=lambda text: [int(one) for one in text.split(",")],
        default=[512, 1024, 2048],
    )
    parser.add_argument(
        "--precisions",
        type=lambda text: text.split(","),
        default=["fp32", "tf32", "bf16", "fp16", "fp8"],
    )
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=16384, help="tokens of a step")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    found = parser.parse_args()
    known = {"fp32", "tf32", "bf16", "fp16", *FP8}
    if not known.issuperset(found.precisions):
        sys.exit(f"--precisions: found {found.precisions}, expected some of {sorted(known)}")
    return found


if __name__ == "__main__":
    main()
