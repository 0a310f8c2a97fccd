"""Weights & Biases: each finished run, written offline from its own files, then uploaded if asked.

The local files are the record. A run is written to W&B in one go after its evaluation, never from
inside training: no network is waited for, a killed and resumed run appears once, and each step is
logged once.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalelab.files import digest, read_json, write_json

UPLOAD_SECONDS = 120
"""Longest time that one upload may take; what is not uploaded stays on disk."""


def mirror(
    plan: dict[str, Any],
    runs_root: Path,
    folder: Path,
    mode: str,
    project: str,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Log every run of a plan that has changed since it was last logged.

    `mode` is offline, online or disabled; WANDB_MODE replaces it. Returns what was done: mode,
    project, a row a run, warnings. Never raises for a fault of W&B or of the network. W&B itself
    puts its files into `folder`/wandb.
    """
    folder = folder / "wandb"
    reachable = True
    mode = (os.environ.get("WANDB_MODE") or mode).lower()
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # W&B's older words
    result: dict[str, Any] = {"mode": mode, "project": project, "runs": [], "warnings": []}
    if mode == "disabled":
        return result
    ledger_path = folder / "logged.json"
    ledger = read_json(ledger_path) if ledger_path.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    for item in plan["runs"]:
        record = _record(plan, item, runs_root, project)
        name = f"{plan['study']}-{item['id']}"
        known = ledger.get(name, {})
        if known.get("digest") != record["digest"]:
            try:
                _forget(folder, name)
                known = {
                    "digest": record["digest"],
                    "folder": _log(plan, item, record, folder, name, project),
                    "uploaded": False,
                }
            except Exception as error:  # any fault of the tracker is a warning, whatever its type
                result["warnings"].append(f"{item['label']}: not logged to W&B ({error})")
                report(f"track: {result['warnings'][-1]}")
                continue
        if mode == "online" and not known["uploaded"] and reachable:
            fault = _upload(folder / known["folder"])
            known["uploaded"] = fault is None
            if fault:
                reachable = False  # the rest would wait as long, one after the other
                result["warnings"].append(fault)
                report(f"track: {fault}")
        ledger[name] = known
        write_json(ledger_path, ledger)
        result["runs"].append({"id": item["id"], "wandb_id": name, **known})
    report(f"track: {len(result['runs'])} runs in {folder} ({mode})")
    return result


def _record(
    plan: dict[str, Any], item: dict[str, Any], runs_root: Path, project: str
) -> dict[str, Any]:
    folder = runs_root / item["id"]
    run = read_json(folder / "run.json")
    score = read_json(folder / "eval" / f"{plan['evaluation_id']}.json")
    metrics = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "run": run,
        "score": score,
        "metrics": [json.loads(line) for line in metrics],
        "digest": digest([plan["study"], project, item["label"], run, score, metrics]),
    }


def _log(
    plan: dict[str, Any],
    item: dict[str, Any],
    record: dict[str, Any],
    folder: Path,
    name: str,
    project: str,
) -> str:
    """Write one offline run; returns the name of its folder."""
    import wandb

    run, score = record["run"], record["score"]
    # W&B keeps its settings in the environment of the process it starts: silence it there.
    os.environ.setdefault("WANDB_SILENT", "true")
    with wandb.init(
        mode="offline",
        project=project,
        id=name,
        name=item["label"],
        group=plan["study"],
        job_type="train",
        tags=[run["spec"]["model"]["family"], plan["study"], run["status"]],
        dir=str(folder.parent),
        config={
            **run["spec"],
            "counts": run["counts"],
            "evaluation": score["settings"],
            "provenance": run["provenance"],
        },
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
        ),
    ) as mirrored:
        for axis in ("tokens", "flops"):
            mirrored.define_metric(axis, hidden=True)
        mirrored.define_metric("loss_nats", step_metric="tokens")
        mirrored.define_metric("loss_nats_by_flops", step_metric="flops")
        for other in ("lr", "grad_norm", "tokens_per_second"):
            mirrored.define_metric(other, step_metric="tokens")
        for line in record["metrics"]:
            mirrored.log({**line, "loss_nats_by_flops": line["loss_nats"]}, step=line["step"])
        mirrored.summary.update(
            {
                "N": run["counts"]["N"],
                "N_total": run["counts"]["N_total"],
                "D": run["D"],
                "C": run["C"],
                "C_6ND": run["C_6ND"],
                "heldout_loss_nats": score["loss_nats"],
                "heldout_perplexity": score["perplexity"],
                "heldout_bits_per_byte": score["bits_per_byte"],
                **_cost(run),
                "status": run["status"],
                "reason": run["reason"],
            }
        )
        written = Path(mirrored.dir).parent
    return written.name


def _cost(run: dict[str, Any]) -> dict[str, Any]:
    """What a run cost. `train_` tells the whole run from the curves logged under the bare name."""
    return {
        "train_seconds": run["seconds"],
        "train_tokens_per_second": run["tokens_per_second"],
        "train_flops_per_second": run["C"] / run["seconds"] if run["seconds"] else None,
        "mfu": run.get("mfu"),
        "peak_flops_per_second": run.get("peak_flops_per_second"),
        "peak_memory_bytes": run["peak_memory_bytes"],
        "checkpoint_bytes": run["checkpoint_bytes"],
        "threads": run["threads"],
        "precision": run["precision"],
        "device": run["device"],
        "resumed": len(run["resumed_from"]),
        "trunk_steps": run.get("trunk_steps"),
    }


def _forget(folder: Path, name: str) -> None:
    """Remove an older offline copy of a run, so that an upload finds it once."""
    for old in folder.glob(f"*-{name}"):
        shutil.rmtree(old)


def _upload(run_folder: Path) -> str | None:
    """Upload one offline run; a sentence if that failed."""
    later = f"upload later with: wandb sync {run_folder}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(run_folder)],
            capture_output=True,
            text=True,
            timeout=UPLOAD_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"W&B did not answer within {UPLOAD_SECONDS} s; {later}"
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        return f"W&B refused the upload ({lines[-1].strip()}); {later}"
    return None
