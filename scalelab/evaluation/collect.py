"""The verb `collect`: exactly the runs of a plan, one row each, in runs.csv."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from scalelab.errors import UserError
from scalelab.evaluation.columns import EXTENT, SCORES, SPENT, of_measure, of_set
from scalelab.files import atomic_folder, atomic_path, digest, read_json
from scalelab.plan.objectives import CAUSAL
from scalelab.plan.trunks import common
from scalelab.sums import sealed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab collect`."""
    parser.add_argument("--plan", required=True, type=Path, metavar="JSON")
    parser.add_argument("--runs-root", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="CSV")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder that gets a link to each checkpoint"
    )


def run(args: argparse.Namespace) -> int:
    """Collect, and link the checkpoints by label."""
    plan = read_json(args.plan)
    table = collect(plan, args.runs_root)
    if args.checkpoints:
        link_checkpoints(table, args.runs_root, args.checkpoints)
    with sealed(Path(args.out)), atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    bad = table[table["status"] != "ok"]
    print(f"collect: {len(table)} runs, {len(bad)} of them not ok")
    return 0


def collect(plan: dict[str, Any], runs_root: Path) -> pd.DataFrame:
    """Rows of runs.csv in the order of N, then seed. Columns: see results/README.md.

    Raises `UserError` when a file of a run is missing or belongs to another run.
    """
    rows = [_row(plan, item, runs_root) for item in plan["runs"]]
    table = pd.DataFrame(rows).sort_values(["N", "D", "label"], ignore_index=True)
    return table


def _row(plan: dict[str, Any], item: dict[str, Any], runs_root: Path) -> dict[str, Any]:
    folder = runs_root / item["id"]
    run = read_json(folder / "run.json")
    score = read_json(folder / "eval" / f"{plan['evaluation_id']}.json")
    for path, found in ((folder / "run.json", run["id"]), (folder / "eval", score["run"])):
        if found != item["id"]:
            raise UserError(f"{path}: found run {found}, expected {item['id']}")
    cells = row(item["label"], run, score) | {"budget": item.get("budget")}
    for identity, settings in plan.get("measures", {}).items():
        path = folder / "measures" / f"{identity}.json"
        for name, found in read_json(path)["estimates"].items():
            column = of_measure(settings["measure"], name)
            cells |= {column: found["value"], f"{column}_se": found["se"]}
    # Axes that have no column of their own: betas, weight decay, the share of a warm-up.
    setting = item.get("setting") or {}
    return cells | {key: value for key, value in setting.items() if key not in cells}


def row(label: str, run: dict[str, Any], score: dict[str, Any]) -> dict[str, Any]:
    """One row of runs.csv, from what a run.json and an evaluation hold."""
    shape, recipe, counts = run["spec"]["model"], run["spec"]["training"], run["counts"]
    return {
        "id": run["id"],
        "label": label,
        **{key: shape[key] for key in ("family", "depth", "width", "heads", "context", "vocab")},
        "N": counts["N"],
        # Runs from before there were sparse families have no idle parameters.
        "N_active": counts["N"] - counts.get("idle", 0),
        "N_total": counts["N_total"],
        "N_embedding": counts["N_embedding"],
        "D": run["D"],
        "C": run["C"],
        "C_6ND": run["C_6ND"],
        "tokens_per_param": run["D"] / (counts["N"] - counts.get("idle", 0)),
        "unique_tokens": min(run["D"], recipe.get("unique_tokens") or run["D"]),
        "budget": None,
        "lr": recipe["lr"],
        "batch_tokens": recipe["batch_tokens"],
        "steps": run["steps"],
        "schedule": recipe["schedule"]["kind"],
        "seed": run["spec"]["seed"],
        "quantity": score.get("quantity", CAUSAL.quantity),
        **{column: score[column] for column in SCORES},
        **{
            of_set(name, column): cells[column]
            for name, cells in score.get("sets", {}).items()
            for column in (*SCORES, *EXTENT)
        },
        "train_loss_nats": run["train_loss_nats"],
        "tokens_per_second": run["tokens_per_second"],
        "seconds": run["seconds"],
        "flops_per_second": run["C"] / run["seconds"] if run["seconds"] else None,
        "mfu": run.get("mfu"),
        "peak_memory_bytes": run["peak_memory_bytes"],
        "checkpoint_bytes": run["checkpoint_bytes"],
        "threads": run["threads"],
        "precision": run["precision"],
        "processes": run.get("processes"),
        "device": run["device"],
        "resumed": len(run["resumed_from"]),
        "trunk": digest(common(run["spec"])) if run.get("trunk_steps") else None,
        "trunk_steps": run.get("trunk_steps") or 0,
        **{f"privacy_{key}": cell for key, cell in spent(run).items()},
        # A run that ended well may give losses that are no finite numbers.
        "status": run["status"] if run["status"] != "ok" else score.get("status", "ok"),
        "reason": run["reason"] or score.get("reason"),
        "corpus": run["spec"]["corpus"],
        "eval_split": score["settings"]["split"],
        "eval_context": score["settings"]["context"],
        "eval_stride": score["settings"]["stride"],
        "eval_bos": score.get("bos"),
        **{f"eval_{column}": score.get(column) for column in EXTENT},
        "checkpoint": f"../runs/{run['id']}/checkpoint",
    }


def spent(run: dict[str, Any]) -> dict[str, Any]:
    """The privacy budget of a run by column; empty for one without."""
    return {key: run["privacy"][key] for key in SPENT} if "privacy" in run else {}


def link_checkpoints(table: pd.DataFrame, runs_root: Path, out: Path) -> None:
    """A folder of relative links label -> checkpoint; copies where links are not to be had."""
    with atomic_folder(out) as temporary:
        for identity, label in zip(table["id"], table["label"], strict=True):
            source = runs_root / identity / "checkpoint"
            try:
                (temporary / label).symlink_to(os.path.relpath(source, out))
            except OSError:
                shutil.copytree(source, temporary / label)
