"""Memory of training processes: predicted by `scalelab.plan.memory`, and measured.

    python benchmarks/memory.py [--quick] [--json FILE]

Each case is a process of its own that trains some steps of random tokens on one thread. Measured is
the most resident memory that the system saw of it, less pages of files (Linux, /proc/self/status),
so that nothing is missed between two looks. An allocator finds use for more or less from one
process to the next, so a prediction is held to the most of three. Cases that differ in
checkpointing alone stand in pairs and take turns: what it saves in memory and costs in time. Cases
with `saved` save a state too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.files import write_json
from scalelab.plan.families import Shape
from scalelab.plan.memory import of_process
from scalelab.plan.passes import Pass

MICRO_BATCHES = 2
"""Passes of a step: what the second one finds of the first one's memory counts as well."""
STEPS = 4
TRIALS = 3
"""Processes of a case."""
SMALL = Shape("gpt2", 3, 64, 2, 128, 512)
MIDDLE = Shape("gpt2", 4, 256, 4, 128, 4096)
DEEP = Shape("gpt2", 12, 128, 4, 128, 512)
LONG = Shape("gpt2", 4, 128, 8, 512, 512)
WORDS = Shape("gpt2", 2, 128, 4, 128, 32_768)
WIDE = Shape("gpt2", 8, 512, 8, 256, 8192)
QUICK = [(SMALL, Pass(32)), (SMALL, Pass(32, by_hand=False)), (DEEP, Pass(8))]
CASES = [
    *QUICK,
    (SMALL, Pass(8)),
    (MIDDLE, Pass(8)),
    (MIDDLE, Pass(32)),
    (MIDDLE, Pass(8, by_hand=False)),
    (MIDDLE, Pass(32, by_hand=False)),
    (DEEP, Pass(32)),
    (DEEP, Pass(32, by_hand=False)),
    (LONG, Pass(4)),
    (LONG, Pass(4, by_hand=False)),
    (WORDS, Pass(8)),
    (WIDE, Pass(4)),
    (WIDE, Pass(4, by_hand=False)),
]
PAIRED = [(DEEP, Pass(32)), (DEEP, Pass(32, by_hand=False)), (LONG, Pass(8)), (MIDDLE, Pass(32))]


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three small cases and one pair")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(trained(**json.loads(args.case))))
        return
    print(
        "shape (L D H T V)              pass            predicted MB  measured MB    ratio  least"
    )
    rows = [compared(shape, how) for shape, how in (QUICK if args.quick else CASES)]
    rows += [compared(MIDDLE, Pass(4), saved=True)]
    print("\ncheckpointed over kept         pass            peak MB        activations  time")
    pairs = [paired(shape, how) for shape, how in (PAIRED[:1] if args.quick else PAIRED)]
    if args.json:
        write_json(args.json, {"rows": rows, "checkpointed": pairs})


def compared(shape: Shape, how: Pass, saved: bool = False) -> dict[str, Any]:
    """Predicted and measured peak of a case, in bytes, and their ratio."""
    trials = [measure(shape, how, saved) for _ in range(TRIALS)]
    peaks = sorted(one["peak"] for one in trials)
    memory = of_process(shape, how, 1, *_tokens(shape, how))
    # The interpreter is what it is here: its libraries differ between machines.
    expected = (memory.peak if saved else memory.training) - memory.fixed + trials[0]["loaded"]
    row = {"predicted": expected, "measured": peaks[-1], "ratio": expected / peaks[-1]}
    print(
        f"{_words(shape):<31}{_way(how) + (', saved' if saved else ''):<16}"
        f"{expected / 1e6:>12.1f}{peaks[-1] / 1e6:>9.1f}{row['ratio']:>7.3f}"
        f"{peaks[0] / 1e6:>7.0f}",
        flush=True,
    )
    return {"shape": _words(shape), "pass": _way(how), "saved": saved, **row, "peaks": peaks}


def paired(shape: Shape, how: Pass, rounds: int = 3) -> dict[str, Any]:
    """Peaks and the ratio of the times of a step, with checkpointing over without, in turns."""
    kinds = (how, replace(how, checkpointed=True))
    found = [[measure(shape, kind) for kind in kinds] for _ in range(rounds)]
    peaks = [max(one[place]["peak"] for one in found) for place in (0, 1)]
    over = [max(one[place]["over"] for one in found) for place in (0, 1)]
    ratios = sorted(one[1]["seconds"] / one[0]["seconds"] for one in found)
    predicted = [of_process(shape, kind, 1, *_tokens(shape, kind)) for kind in kinds]
    expected = [one.training - one.fixed + found[0][0]["loaded"] for one in predicted]
    print(
        f"{_words(shape):<31}{_way(how):<16}{peaks[1] / 1e6:>6.0f}/{peaks[0] / 1e6:<6.0f}"
        f"{over[1] / over[0]:>13.3f}{ratios[rounds // 2]:>7.3f}"
        f"  (predicted over measured {expected[1] / peaks[1]:.3f}, {expected[0] / peaks[0]:.3f})",
        flush=True,
    )
    return {
        "shape": _words(shape),
        "pass": _way(how),
        "peaks": peaks,
        "predicted": expected,
        "activations_ratio": over[1] / over[0],
        "time_ratio": ratios[rounds // 2],
    }


def measure(shape: Shape, how: Pass, saved: bool = False) -> dict[str, Any]:
    """What a process of its own tells of a case."""
    case = {"shape": vars(shape), "how": vars(how), "saved": saved}
    words = [sys.executable, __file__, "--case", json.dumps(case)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{_words(shape)}, {_way(how)}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def trained(shape: dict[str, Any], how: dict[str, Any], saved: bool) -> dict[str, Any]:
    """Train here. loaded, peak: bytes of this process before and at most; over: of the peak beyond
    the flat tensors; seconds: of the quickest step."""
    from scalelab.training import loop, machine, paths

    machine.set_up(1)
    loaded = status("RssAnon")
    made, way = Shape(**shape), Pass(**how)
    path = paths.ComputePath("fp32", way.by_hand)
    paths.choose = lambda *_: path
    loop.micro_sequences = lambda *_: way.sequences
    spec = specification(made, way)
    size = _tokens(made, way)[1] + 1
    tokens = np.random.default_rng(0).integers(0, made.vocab, size, dtype=np.uint16)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = loop.Trainer(spec, tokens, Path(folder), "benchmark", loop.silent, "benchmark")
        for step in range(STEPS):
            batch = trainer.batches.step(step)
            start = time.perf_counter()
            loss, norm = trainer.stepper(*batch, 1e-3)
            seconds.append(time.perf_counter() - start)
            trainer.history.append((loss, norm, sum(seconds)))
        if saved:
            trainer._save()
        peak = status("VmHWM") - status("RssFile") - status("RssShmem")
    return {
        "loaded": loaded,
        "peak": peak,
        "over": peak - loaded - 16 * trainer.counts.n_total,
        "seconds": min(seconds),
    }


def specification(shape: Shape, how: Pass) -> dict[str, Any]:
    """A short run of that shape."""
    schedule = {"kind": "constant", "warmup_steps": 0, "cooldown_steps": 0, "final": 0.0}
    training = {
        "steps": STEPS,
        "batch_tokens": _tokens(shape, how)[0],
        "lr": 1e-3,
        "schedule": schedule,
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "clip": 1.0,
        "precision": "fp32",
        "checkpoint_activations": how.checkpointed,
    }
    return {"model": vars(shape), "seed": 1, "training": training}


def status(name: str) -> int:
    """A number of bytes of /proc/self/status."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.partition(f"{name}:")[2].split()[0]) * 1024


def _tokens(shape: Shape, how: Pass) -> tuple[int, int]:
    """Tokens of a step, and of the whole run."""
    batch = MICRO_BATCHES * how.sequences * shape.context
    return batch, STEPS * batch


def _words(shape: Shape) -> str:
    return f"{shape.depth} {shape.width} {shape.heads} {shape.context} {shape.vocab}"


def _way(how: Pass) -> str:
    return f"{how.sequences} {'by hand' if how.by_hand else 'by torch'}"


if __name__ == "__main__":
    main()
