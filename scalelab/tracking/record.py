"""What a tracker is told: of a run its settings, curve and results; of a study its fit."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.files import digest, file_sha256, read_json

Row = dict[str, Any]
FIT_TABLES = ("runs", "law", "cost", "answers")


@dataclass(frozen=True)
class Record:
    """One run of a tracker.

    id: fixed, so that what is sent twice replaces itself. lines: metrics, each with its `step`,
    `tokens` and `flops`. files: {name: path} of an artifact; images: {title: PNG}; tables: {title:
    (columns, rows)}. runs: ids of the training runs that a fit rests on. digest: of all content, so
    that a run is sent again when it has changed, and only then.
    """

    id: str
    name: str
    group: str
    job_type: str
    project: str
    tags: tuple[str, ...]
    notes: str
    config: Row
    summary: Row
    digest: str
    lines: Sequence[Row] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    tables: Mapping[str, tuple[list[str], list[list[str]]]] = field(default_factory=dict)
    runs: tuple[str, ...] = ()


def run_id(study: str, run: str) -> str:
    """The tracker's id of a training run."""
    return f"{study}-{run}"


def fit_id(study: str) -> str:
    """The tracker's id of the run that holds a study's fit."""
    return f"{study}-fit"


def of_run(plan: Row, item: Row, runs_root: Path, project: str) -> Record:
    """A finished and evaluated run; `item` is its entry of the plan."""
    folder = runs_root / item["id"]
    run = read_json(folder / "run.json")
    score = read_json(folder / "eval" / f"{plan['evaluation_id']}.json")
    metrics = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    study, counts = plan["study"], run["counts"]
    tags = (run["spec"]["model"]["family"], size_tag(counts["N"]), *_design(plan), run["status"])
    return Record(
        id=run_id(study, item["id"]),
        name=item["label"],
        group=study,
        job_type="train",
        project=project,
        tags=tags,
        notes=str(run["reason"] or ""),
        config={
            **run["spec"],
            "run": item["id"],
            "config_hash": run["provenance"].get("config_hash"),
            "data_hash": run["provenance"].get("data_hash"),
            "counts": counts,
            "evaluation": score["settings"],
            "provenance": run["provenance"],
            "fit": fit_id(study),
        },
        summary={
            "N": counts["N"],
            "N_total": counts["N_total"],
            "D": run["D"],
            "C": run["C"],
            "C_6ND": run["C_6ND"],
            "heldout_loss_nats": score["loss_nats"],
            "heldout_perplexity": score["perplexity"],
            "heldout_bits_per_byte": score["bits_per_byte"],
            **_cost(run),
            "status": run["status"],
            "reason": run["reason"],
        },
        digest=digest([study, project, item["label"], list(tags), run, score, metrics]),
        lines=[json.loads(line) for line in metrics],
    )


def of_fit(plan: Row, folder: Path, project: str) -> Record:
    """The fit of a study: laws.json, tables and figures as they lie in its folder."""
    laws = read_json(folder / "laws.json")
    study = plan["study"]
    files = {"laws.json": folder / "laws.json", "runs.csv": folder / "runs.csv"}
    for kind, endings in (("figures", ("pdf", "svg", "png", "csv")), ("tables", ("csv", "tex"))):
        for path in sorted((folder / kind).glob("*")):
            if path.suffix[1:] in endings:
                files[f"{kind}/{path.name}"] = path
    images = {f"figures/{path.stem}": path for path in sorted(folder.glob("figures/*.png"))}
    read = {name: _table(folder / "tables" / f"{name}.csv") for name in FIT_TABLES}
    tables = {f"tables/{name}": table for name, table in read.items() if table[1]}
    runs = tuple(run_id(study, item["id"]) for item in plan["runs"])
    fits = laws.get("fits", [])
    return Record(
        id=fit_id(study),
        name=f"fit of {study}",
        group=study,
        job_type="fit",
        project=project,
        tags=("fit", *_design(plan)),
        notes=str(plan.get("description", "")),
        config={
            "study": study,
            "design": plan.get("design"),
            "laws": [fit.get("formula") for fit in fits],
            "training_runs": list(runs),
            "config_hash": (plan.get("provenance") or {}).get("config_hash"),
            "provenance": laws.get("provenance"),
        },
        summary=_numbers(fits),
        digest=digest(
            [study, project, list(runs), {name: file_sha256(files[name]) for name in sorted(files)}]
        ),
        files=files,
        images=images,
        tables=tables,
        runs=runs,
    )


def size_tag(parameters: float) -> str:
    """`N~150k`: N to two digits, so that the runs of a size share a tag."""
    rounded = float(f"{parameters:.2g}")
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if rounded >= limit:
            return f"N~{rounded / limit:.3g}{unit}"
    return f"N~{rounded:.0f}"


def _design(plan: Row) -> tuple[str, ...]:
    kind = (plan.get("design") or {}).get("kind")
    return (str(kind),) if kind else ()


def _numbers(fits: Sequence[Row]) -> Row:
    """Parameters of each law with the ends of their intervals, under `LAW/PARAMETER`."""
    found: Row = {}
    for fit in fits:
        for name, value in (fit.get("params") or {}).items():
            key = f"{fit['law']}/{name}"
            low, high = (fit.get("intervals") or {}).get(name) or (None, None)
            found |= {key: value, f"{key}_low": low, f"{key}_high": high}
        found[f"{fit['law']}/warnings"] = len(fit.get("warnings") or ())
    return found


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.exists():
        return [], []
    with open(path, encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    return (rows[0], rows[1:]) if rows else ([], [])


def _cost(run: Row) -> Row:
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
