"""The verb `sync`: write and upload what a tracker does not have yet, each run exactly once."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import read_json, write_json
from scalelab.plan.folder import study_folder
from scalelab.tracking import trackers
from scalelab.tracking.ledger import Ledger, held
from scalelab.tracking.mirror import Make, fit_of, runs_of, uploaded, written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab sync`."""
    parser.add_argument(
        "--study", required=True, type=Path, metavar="DIR", help="results/NAME, or NAME"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be uploaded")
    parser.add_argument("--tracker", help="default: the one that the study was logged with")
    parser.add_argument("--project", help="default: the one that the study was logged with")


def run(args: argparse.Namespace) -> int:
    """Upload; what was interrupted goes on with the same command.

    Runs that are trained and evaluated count, those still at work do not.

    Raises:
        UserError: no study, or the tracker took not all of it.
    """
    folder = study_folder(args.study)
    if not (folder / "plan.json").exists():
        raise UserError(f"{folder}: expected the folder of a study, but it has no plan.json")
    before = read_json(folder / "tracking.json") if (folder / "tracking.json").exists() else {}
    kind = args.tracker or before.get("tracker", "wandb")
    project = args.project or before.get("project", "scalelab")
    tracker = trackers.get(kind)
    if tracker.upload is None:
        raise UserError(f"{folder}: {kind} keeps its runs here, there is nothing to upload")
    missing = tracker.missing()
    if missing:
        raise UserError(missing)
    wanted = list(_finished(read_json(folder / "plan.json"), folder, project))
    place = folder / kind
    if args.dry_run:
        return _list(wanted, Ledger(place), folder)
    faults: list[str] = []
    sent = 0
    for name, label, make in wanted:
        # Held for one run at a time: the workflow may log others into the same folder.
        with held(place):
            ledger = Ledger(place)
            known = written(tracker, ledger, name, label, make, place, faults.append)
            if known is None or known["uploaded"]:
                continue
            fault = uploaded(tracker, ledger, name, place)
            if fault:
                faults.append(fault)
                break  # the rest would wait as long, one after the other
            sent += 1
            print(f"{label}: uploaded as {name}", flush=True)
    _tell(folder, kind, Ledger(place))
    if faults:
        raise UserError(f"{folder}: {sent} runs uploaded, then: {faults[-1]}")
    print(f"{folder}: {sent} runs uploaded, {len(wanted) - sent} were there already")
    return 0


def _tell(folder: Path, kind: str, ledger: Ledger) -> None:
    """Bring tracking.json and tracking_fit.json up to date, for the links of the report."""
    for path in (folder / "tracking.json", folder / "tracking_fit.json"):
        if path.exists():
            before = read_json(path)
            rows = [
                row | ledger.get(row.get(f"{kind}_id", "")) if isinstance(row, dict) else row
                for row in before.get("runs", ())
            ]
            if rows != before.get("runs", []):
                write_json(path, {**before, "runs": rows})


def _finished(plan: dict[str, Any], folder: Path, project: str) -> Iterator[tuple[str, str, Make]]:
    root = folder.parent / "runs"
    score = f"eval/{plan['evaluation_id']}.json"
    needed = ("run.json", "metrics.jsonl", score)
    there = [
        item for item in plan["runs"] if all((root / item["id"] / name).exists() for name in needed)
    ]
    yield from runs_of({**plan, "runs": there}, root, project)
    if all((folder / name).exists() for name in ("laws.json", "runs.csv", "tables/numbers.tex")):
        yield from fit_of(plan, folder, project)


def _list(wanted: list[tuple[str, str, Make]], ledger: Ledger, folder: Path) -> int:
    count = 0
    for name, label, make in wanted:
        known = ledger.get(name)
        if not known.get("uploaded") or known.get("digest") != make().digest:
            count += 1
            print(f"{label}: would be uploaded as {name}")
    print(f"{folder}: {count} of {len(wanted)} runs would be uploaded; nothing was sent")
    return 0
