"""What progress and tracking cost a run, both sides in one go.

    python benchmarks/tracking.py [--seconds 60] [--json FILE]

One training of the smallest model of the default study, whose steps are the shortest, so that
whatever is done beside them weighs most. It is cut into slices that take turns: with nothing beside
the steps, and as a workflow runs it: progress.json is written, printed lines count a plan of 100
runs, a tracker is set to online with a key and no server. Trackers are called after training, by
another process, so the last of these cannot weigh; that is what is shown.

`ratio` is the median over pairs of slices of the time of a step with to that without. `share` is
the time inside the calls over the time of the slices, `cpu_share` the processor time inside them:
the sharper number on a machine that has other work, which interrupts calls and steps alike.
`wandb_imported` says whether training loaded the library. `log_seconds` is what writing a run for
W&B takes afterwards, offline, for each of ten.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalelab import config
from scalelab.files import write_json
from scalelab.live.announce import announce
from scalelab.plan.command import as_json
from scalelab.plan.runs import build
from scalelab.tracking.record import Record
from scalelab.training.loop import Trainer
from scalelab.training.progress import LIVE, Progress

STUDY = Path(__file__).parents[1] / "config" / "quickstart.yaml"
SLICE = 4.0  # seconds, two writings of progress.json


class Clocked(Progress):
    """Progress that counts the time spent in it."""

    spent = cpu = 0.0
    on = True

    def due(self) -> bool:
        """Counted."""
        return self.on and self._counted(super().due)

    def add(self, line: dict[str, Any]) -> None:
        """Counted."""
        if self.on:
            self._counted(super().add, line)

    def show(self, *args: Any) -> None:
        """Counted."""
        self._counted(super().show, *args)

    def _counted(self, call: Callable[..., Any], *args: Any) -> Any:
        began, cpu = time.perf_counter(), time.thread_time()
        try:
            return call(*args)
        finally:
            Clocked.spent += time.perf_counter() - began
            Clocked.cpu += time.thread_time() - cpu


def main() -> None:
    """Run, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, both sides")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(Path(temporary) / "results", args.seconds)
        result["log_seconds"] = log_seconds(Path(temporary) / "wandb")
    print("\n".join(f"{name}: {value}" for name, value in result.items()))
    if args.json:
        write_json(args.json, result)


def measure(root: Path, seconds: float) -> dict[str, Any]:
    """Both sides of one training, slice by slice."""
    plan = build(config.load(STUDY))
    run = min(plan.runs, key=lambda one: one.counts.n)
    content = as_json(plan)
    content["runs"] = [{**content["runs"][0], "id": f"{number:012x}"} for number in range(100)]
    announce(root / "quickstart", content, 2)
    torch.set_num_threads(1)
    os.environ |= {
        LIVE: str(root / "quickstart" / "live.json"),
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    steps = 30_000
    spec = {**run.spec, "training": {**run.spec["training"], "steps": steps}}
    spec["training"]["schedule"] = {**spec["training"]["schedule"], "kind": "constant"}
    count = (steps + 2) * spec["training"]["batch_tokens"]
    tokens = np.random.default_rng(0).integers(0, spec["model"]["vocab"], count, np.uint16)
    log = open(root / "train.log", "w", encoding="utf-8")  # noqa: SIM115

    def report(line: str) -> None:
        print(line, file=log, flush=True)

    trainer = Trainer(spec, tokens, root / "runs" / "0" / "state", "", report, "N")
    told = Clocked(report, "N", steps, trainer.progress.file)
    told.curve = [(k, 5.0) for k in range(150)]  # as long as that of a run near its end
    trainer.progress = told
    sides: dict[bool, list[float]] = {True: [], False: []}
    began = turn = time.monotonic()
    at = 0

    def stop() -> bool:
        """Called after each step: changes sides when a slice is over."""
        nonlocal turn, at
        now = time.monotonic()
        if now - turn >= SLICE:
            if at:  # the first slice warms up
                sides[told.on].append((now - turn) / (trainer.done - at))
            told.on = not told.on
            turn, at = now, trainer.done
        return now - began > seconds

    try:
        trainer.run(1e9, stop)
    except Exception as error:  # it is stopped here, before its end
        if type(error).__name__ != "Interrupted":
            raise
    log.close()
    pairs = [a / b for a, b in zip(sides[True], sides[False], strict=False)]
    return {
        "N": run.counts.n,
        "step_ms": round(1e3 * statistics.median(sides[False]), 3),
        "pairs": len(pairs),
        "ratio": round(statistics.median(pairs), 4),
        "ratio_quartiles": [round(value, 4) for value in statistics.quantiles(pairs)],
        "share": round(Clocked.spent / (len(sides[True]) * SLICE), 6),
        "cpu_share": round(Clocked.cpu / (len(sides[True]) * SLICE), 6),
        "lines": len((root / "train.log").read_text().splitlines()),
        "wandb_imported": "wandb" in sys.modules,
    }


def log_seconds(folder: Path) -> float:
    """Seconds that writing a run of 150 lines takes, the median of ten."""
    from scalelab.tracking.trackers.wandb import log

    lines = [
        {"step": k, "tokens": 512 * k, "flops": 10**6 * k, "loss_nats": 5.0} for k in range(1, 151)
    ]
    taken = []
    for number in range(10):
        record = Record(
            f"x-{number}", "x", "x", "train", "x", ("x",), "", {}, {}, str(number), lines
        )
        began = time.monotonic()
        log(record, folder)
        taken.append(time.monotonic() - began)
    return round(statistics.median(taken), 3)


if __name__ == "__main__":
    main()
