"""The rest of what the page's scripts draw: every run, training curves, costs with their growth."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scalelab.errors import UserError
from scalelab.figures.cost import QUANTITIES
from scalelab.figures.study import Run, Study, even, read_curve

CURVE_POINTS, ALL_POINTS = 200, 9_000
"""Points of one training curve at most, and of all together."""
MOST_CURVES = 450
"""Curves in the plot: so many of 20 points each make ALL_POINTS."""
COLUMNS = ("N", "N_total", "D", "C", "C_6ND", "loss_nats", "loss_nats_se", "bits_per_byte")
COSTS = tuple(quantity.column for quantity in QUANTITIES)


def runs(study: Study) -> list[dict[str, Any]]:
    """Every run in the order of the table, with the numbers that hovering tells."""
    columns = [*COLUMNS, *(column for column in COSTS if column not in COLUMNS)]
    return [
        {
            "id": run.id,
            "label": run.label,
            "status": run.status,
            "ok": run.ok,
            "seed": run.columns.get("seed", ""),
            **{column: run.number(column) for column in columns},
        }
        for run in study.runs
    ]


def curves(study: Study) -> list[dict[str, Any]]:
    """Training curves: `run` (its place), `tokens`, `flops`, `loss`; without those that are not
    there. Thinned evenly in the log of the tokens, first and last kept; of many runs, evenly chosen
    ones."""
    chosen = even(list(enumerate(study.runs)), MOST_CURVES)
    most = max(20, min(CURVE_POINTS, ALL_POINTS // max(len(chosen), 1)))
    found = []
    for place, run in chosen:
        try:
            lines = read_curve(study, run)
        except UserError:
            continue
        if not lines:
            continue
        kept = thinned(lines, most)
        found.append(
            {
                "run": place,
                "tokens": [int(line["tokens"]) for line in kept],
                "flops": [float(f"{line['flops']:.5g}") for line in kept],
                "loss": [round(line["loss_nats"], 4) for line in kept],
            }
        )
    return found


def thinned(lines: Sequence[Mapping[str, float]], most: int) -> list[Mapping[str, float]]:
    """At most about `most` lines; the next kept one is a fixed factor further on."""
    if len(lines) <= most:
        return list(lines)
    first, last = lines[0]["tokens"], lines[-1]["tokens"]
    factor = (last / first) ** (1 / (most - 1)) if last > first else 1.0
    kept, due = [lines[0]], first * factor
    for line in lines[1:-1]:
        if line["tokens"] >= due:
            kept.append(line)
            due = line["tokens"] * factor
    return [*kept, lines[-1]]


def costs(study: Study) -> list[dict[str, Any]]:
    """Each cost that some run has: words, unit, scale, and its power of N where there is one."""
    found = []
    for quantity in QUANTITIES:
        if not any(run.number(quantity.column) for run in study.runs):
            continue
        growth = study.growth.get(quantity.column)
        keys = ("exponent", "standard_error", "coefficient", "N")
        found.append(
            {
                "column": quantity.column,
                "label": quantity.label,
                "unit": quantity.unit,
                "scale": quantity.scale,
                "growth": {key: growth[key] for key in keys} if growth else None,
            }
        )
    return found


def links(study: Study, out: Path, tracking: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """By run id: `log` and `record`, relative links to what is there now; `wandb`, its id there;
    `url`, where it was uploaded and the tracker said where."""
    known = {item["id"]: item for item in (tracking or {}).get("runs", ())}
    found: dict[str, dict[str, Any]] = {}
    for run in study.runs:
        item = known.get(run.id, {})
        uploaded = bool(item.get("uploaded"))
        url = item.get("url") if uploaded else None
        found[run.id] = {
            "log": _link(study, run, out, "logs/train.log"),
            "record": _link(study, run, out, "run.json"),
            "wandb": item.get("wandb_id"),
            "where": "uploaded" if uploaded else "offline",
            "url": url if str(url).startswith("https://") else None,
        }
    return found


def _link(study: Study, run: Run, out: Path, name: str) -> str | None:
    path = study.runs_root / run.id / name
    if not path.is_file():
        return None
    relative = Path(os.path.relpath(path.resolve(), out.resolve().parent)).as_posix()
    return quote(relative)
