"""live.json: what the workflow that last started in a folder trains, and who it is.

plan.json is a product of the workflow, and of an adaptive study it is the last one; this file is
there from the first second.
"""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scalelab.files import write_json
from scalelab.plan.labels import label_of
from scalelab.training.progress import identity

FILE = "live.json"
Row = dict[str, Any]


def announce(
    folder: Path, plan: Row, cores: int, adaptive: bool = False, again: Iterable[str] = ()
) -> None:
    """Write live.json into a study's folder. again: runs that are there and are trained anew."""
    content = {
        "study": plan["study"],
        **identity(),
        "started": time.time(),
        "cores": cores,
        "adaptive": adaptive,
        "again": sorted(again),
        **of_plan(plan),
    }
    write_json(folder / FILE, content)


def of_plan(plan: Row) -> Row:
    """The evaluation, the corpora, a row a run and a row a stretch of a trunk, from a plan.json.

    A row has `own_tokens`: those that its job trains, without what it takes over from a trunk.
    """
    specs = {item["id"]: item["spec"] for item in plan["runs"]}
    per_token = {item["id"]: item["C"] / item["D"] for item in plan["runs"]}
    shared: dict[str, int] = {}
    stretches: list[Row] = []
    for trunk in plan.get("trunks", ()):
        shared |= trunk["branches"]
        first = next((run for run in trunk["branches"] if run in specs), None)
        if first is None:
            continue  # of an adaptive study: none of its runs was chosen
        leaves = {run: steps for run, steps in trunk["branches"].items() if run in specs}
        for before, end in itertools.pairwise([0, *sorted(set(leaves.values()))]):
            row = _row(trunk["id"], f"trunk of {label_of(specs[first])}", specs[first])
            own = (end - before) * row["batch_tokens"]
            stretches.append(
                {**row, "steps": end, "C": end * row["batch_tokens"] * per_token[first]}
                | {"own_tokens": own, "flops_per_token": per_token[first]}
                | {"needed_by": sorted(run for run, steps in leaves.items() if steps >= end)}
            )
    runs = []
    for item in plan["runs"]:
        row = _row(item["id"], item["label"], item["spec"])
        own = item["D"] - shared.get(item["id"], 0) * row["batch_tokens"]
        runs.append(
            {**row, **{key: item[key] for key in ("N", "D", "C")}, "own_tokens": own}
            | {"flops_per_token": per_token[item["id"]]}
        )
    return {
        "evaluation_id": plan["evaluation_id"],
        "corpora": list(plan["corpora"]),
        "runs": runs,
        "trunks": stretches,
    }


def _row(name: str, label: str, spec: Row) -> Row:
    return {
        "id": name,
        "label": label,
        "steps": spec["training"]["steps"],
        "batch_tokens": spec["training"]["batch_tokens"],
        "threads": spec["threads"] * spec.get("processes", 1),
    }
