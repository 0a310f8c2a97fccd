"""What a week-long run costs the commands that read it: a log of a million steps.

    python benchmarks/long_run.py [--steps 1000000] [--keep FOLDER] [--json FILE]

A study of ten runs is made without training (`growth_study.py`); one of them then has a log with
a line for each of so many steps, where training itself would write some hundreds. fit, figures and
report read it as the workflow calls them. Then runs from elsewhere are imported: a Trainer's
state and a table, with an entry for each step. Last, what training keeps of that many steps is put
into a resume state and taken from it. Times are of the processor: other work disturbs them less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from growth import MAKER, PLAN, STUDY, commands, scalelab, timed

from scalelab.files import read_json, write_json


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description="Measure what a log of many steps costs.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="folder that keeps what was made")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        found: dict[str, dict[str, float]] = {}
        for name, words in {**of_study(folder, args.steps), **foreign(folder, args.steps)}.items():
            found[name] = timed(words, folder / "study")
            print(line(name, found[name]), flush=True)
        for name, numbers in state_of(folder, args.steps).items():
            found[name] = numbers
            print(f"{name:28}{numbers}", flush=True)
    if args.json:
        write_json(args.json, found)


def line(name: str, one: dict[str, float]) -> str:
    """A line of the table."""
    return f"{name:28}{one['processor']:>8.1f} s{one['megabytes']:>7.0f} MB"


def of_study(folder: Path, steps: int) -> dict[str, list[str]]:
    """A study of ten runs, the largest with a line a step, and the commands that read it."""
    study = folder / "study"
    making = [sys.executable, str(MAKER), "--runs", "10", "--out", str(study)]
    subprocess.run([*making, "--finish"], check=True, capture_output=True)
    subprocess.run(scalelab("plan", STUDY, "--json", PLAN), cwd=study, check=True)
    largest = max(read_json(study / PLAN)["runs"], key=lambda run: run["C"])
    path = study / "results" / "runs" / largest["id"] / "metrics.jsonl"
    first, last = (json.loads(path.read_text().splitlines()[place]) for place in (0, -1))
    with open(path, "w", encoding="utf-8") as out:
        for step in range(1, steps + 1):
            share = step / steps
            out.write(json.dumps(first | {"step": step, **between(first, last, share)}) + "\n")
    return commands(study)


def between(first: dict[str, Any], last: dict[str, Any], share: float) -> dict[str, float]:
    """Tokens, FLOPs and loss of a step on the way, by the share that is done."""
    loss = last["loss_nats"] + (first["loss_nats"] - last["loss_nats"]) * (1 - share) ** 3
    return {key: last[key] * share for key in ("tokens", "flops")} | {"loss_nats": loss}


def foreign(folder: Path, steps: int) -> dict[str, list[str]]:
    """Logs of other programs with an entry a step, and the commands that import them."""
    state = folder / "trained" / "trainer_state.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    totals = {"global_step": steps, "max_steps": steps, "num_input_tokens_seen": 512 * steps}
    # No list of them here: what this process holds would count as memory of those that it starts.
    with open(state, "w", encoding="utf-8") as out:
        out.write(json.dumps(totals)[:-1] + ', "log_history": [\n')
        for step in range(1, steps + 1):
            entry = {"step": step, "loss": 9 / step**0.1, "num_input_tokens_seen": 512 * step}
            out.write(json.dumps(entry) + ("]}\n" if step == steps else ",\n"))
    table = folder / "export.csv"
    with open(table, "w", encoding="utf-8") as out:
        out.write("run,step,N,tokens,loss_nats\n")
        out.writelines(
            f"one,{step},1000000,{512 * step},{9 / step**0.1}\n" for step in range(1, steps + 1)
        )
    told = ("--dataset", "text", "--out", "runs.csv")
    more = ("--params", "1000000", "--loss-column", "loss")
    return {
        "import, a Trainer's state": scalelab("import", str(state.parent.resolve()), *more, *told),
        "import, a table": scalelab("import", str(table.resolve()), "--last", *told),
    }


def state_of(folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Seconds and megabytes of the history of a run in a resume state."""
    import torch

    from scalelab.training import state

    history = [(3.0, 1.0, 0.6 * step) for step in range(steps)]
    found = {}

    def write() -> None:
        tensor = torch.tensor(history, dtype=torch.float64).view(-1, 3)
        state.save(folder / "state", steps, {"identity": "one", "history": tensor})

    def read() -> None:
        state.load_newest(folder / "state", "one")

    calls: dict[str, Callable[[], None]] = {"state written": write, "state read": read}
    for name, call in calls.items():
        began = time.process_time()
        call()
        found[name] = {"processor": round(time.process_time() - began, 2)}
    (file,) = (folder / "state").glob("*.state")
    found["state written"]["file_megabytes"] = round(os.path.getsize(file) / 1e6, 1)
    return found


if __name__ == "__main__":
    main()
