"""The verb `calibrate`: how fast this machine takes the steps of some specifications.

`scalelab plan` asks for it in a process of its own, since planning loads no torch.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.logs import json_argument

LEAST_STEPS = 3
BLOCKS = 64
"""Sequences of random tokens that the measured steps go through."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab calibrate`."""
    parser.add_argument("--specs", required=True, metavar="JSON", help="specifications, or @FILE")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for all of them together (default: 10)"
    )


def run(args: argparse.Namespace) -> int:
    """Print one line of JSON: seconds a step of each specification, and to the first step."""
    specs = json_argument(args.specs)
    if not isinstance(specs, list) or not specs:
        raise UserError("--specs: expected a list of specifications")
    if not args.seconds > 0:
        raise UserError(f"--seconds: found {args.seconds:g}, expected more than 0")
    start = time.monotonic()
    # The import that each job pays for.
    from scalelab.training import machine

    started = time.monotonic() - start
    steps = []
    for spec in specs:
        machine.set_up(spec["threads"])
        steps.append(seconds_a_step(spec, args.seconds / len(specs)))
    print(json.dumps({"start_seconds": round(started, 3), "step_seconds": steps}))
    return 0


def seconds_a_step(spec: dict[str, Any], seconds: float) -> float | None:
    """Median seconds of an optimiser step on random tokens; None where the memory does not do.

    Steps are taken for about `seconds`, set-up included, three at least; the first is not counted.
    """
    import numpy as np

    from scalelab.training.loop import Trainer, silent
    from scalelab.training.step import is_out_of_memory

    begin = time.monotonic()
    recipe = {**spec["training"], "unique_tokens": None, "compile": False}
    recipe.pop("distil", None)  # the passes of a teacher are not timed
    if "dp" in recipe:  # a step takes as long with any noise, and some noise takes long to find
        recipe["dp"] = {**recipe["dp"], "noise": 1.0}
    sequences = recipe["batch_tokens"] // spec["model"]["context"]
    recipe["steps"] = max(1, BLOCKS // sequences)
    size = recipe["steps"] * recipe["batch_tokens"] + 1
    tokens = np.random.default_rng(0).integers(0, spec["model"]["vocab"], size, dtype=np.uint16)
    plain = {**spec, "training": recipe, "processes": 1, "sharding": False}
    taken: list[float] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(plain, tokens, Path(folder), "calibration", silent, "calibration")
            while len(taken) <= LEAST_STEPS or time.monotonic() - begin < seconds:
                batch = trainer.batches.step(len(taken) % recipe["steps"])
                start = time.monotonic()
                trainer.stepper(*batch, 1e-4)
                taken.append(time.monotonic() - start)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        print(f"calibrate: no memory for {spec['model']}", file=sys.stderr)
        return None
    return float(np.median(taken[1:]))
