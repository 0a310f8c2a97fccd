"""Bring a tracker up to date with the local record: written anew what has changed, then uploaded.

The local files are the record. A run is written in one go after its evaluation, never from inside
training: no network is waited for, a killed and resumed run appears once, and each step is logged
once.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.tracking import trackers
from scalelab.tracking.ledger import Ledger, held
from scalelab.tracking.record import Record, fit_id, of_fit, of_run, run_id
from scalelab.tracking.trackers import Tracker

PATIENCE = 20.0
"""Seconds that a run may take to fail; after more the others are left for the next call."""
Make = Callable[[], Record]
Row = dict[str, Any]


def mode_of(wanted: str) -> str:
    """offline, online or disabled; WANDB_MODE in the environment has the last word."""
    mode = (os.environ.get("WANDB_MODE") or wanted).lower()
    return {"dryrun": "offline", "run": "online"}.get(mode, mode)  # W&B's older words


def runs_of(plan: Row, runs_root: Path, project: str) -> Iterator[tuple[str, str, Make]]:
    """Id, label and record of each run of a plan."""
    for item in plan["runs"]:
        yield (
            run_id(plan["study"], item["id"]),
            item["label"],
            partial(of_run, plan, item, runs_root, project),
        )


def fit_of(plan: Row, folder: Path, project: str) -> Iterator[tuple[str, str, Make]]:
    """Id, label and record of a study's fit."""
    yield fit_id(plan["study"]), "the fit", partial(of_fit, plan, folder, project)


def mirror(
    wanted: Iterator[tuple[str, str, Make]],
    folder: Path,
    kind: str,
    mode: str,
    report: Callable[[str], None],
) -> Row:
    """Log what has changed since it was last logged, into `folder`/`kind`, and upload it if online.

    Returns what was done: tracker, mode, a row a run, warnings. Never raises for a fault of a
    tracker, of the network or of the disk.
    """
    tracker = trackers.get(kind)
    mode = mode_of(mode) if tracker.upload else "offline"
    result: Row = {"tracker": kind, "mode": mode, "runs": [], "warnings": []}
    if kind == "none" or mode == "disabled":
        return result

    def warn(sentence: str) -> None:
        result["warnings"].append(sentence)
        report(f"track: {sentence}")

    missing = tracker.missing()
    if missing:
        warn(missing)
        return result
    place = folder / kind
    reachable = True
    try:
        for name, label, make in wanted:
            # Held for one run at a time: `scalelab sync` may be at work on the same folder.
            with held(place):
                ledger = Ledger(place)
                began = time.monotonic()
                known = written(tracker, ledger, name, label, make, place, warn)
                if known is None:
                    if time.monotonic() - began > PATIENCE:
                        warn("the other runs are not tried: each would wait as long")
                        break
                    continue
                if mode == "online" and reachable:
                    # After a fault the rest would wait as long, one after the other.
                    fault = uploaded(tracker, ledger, name, place)
                    reachable = fault is None
                    if fault:
                        warn(fault)
                result["runs"].append(row_of(kind, name, ledger))
    except (UserError, OSError) as error:  # another process, a full disk
        warn(f"not logged ({error})")
    report(f"track: {len(result['runs'])} runs in {place} ({mode})")
    return result


def row_of(kind: str, name: str, ledger: Ledger) -> Row:
    """A run as tracking.json has it."""
    return {"id": name.partition("-")[2], f"{kind}_id": name, **ledger.get(name)}


def written(
    tracker: Tracker,
    ledger: Ledger,
    name: str,
    label: str,
    make: Make,
    place: Path,
    warn: Callable[[str], None],
) -> Row | None:
    """Write a run if it has changed; what the ledger says of it, or None where that failed."""
    try:
        record = make()
        known = ledger.get(name)
        there = "folder" in known and (place / known["folder"]).exists()
        # W&B remembers the files of an artifact by their whole paths.
        moved = bool(record.files) and known.get("place") != str(place.absolute())
        gone = not known.get("uploaded") and (moved or not there)
        if known.get("digest") != record.digest or gone:
            tracker.forget(record, place)
            where = tracker.log(record, place)
            known = {"digest": record.digest, "folder": where, "uploaded": False}
            known |= {"place": str(place.absolute())} if record.files else {}
            ledger.put(name, known)
    except Exception as error:  # any fault of a tracker is a warning, whatever its type
        warn(f"{label}: not logged to {tracker.name} ({error})")
        return None
    return known


def uploaded(tracker: Tracker, ledger: Ledger, name: str, place: Path) -> str | None:
    """Upload a run that is not uploaded yet, once; a sentence if that failed.

    A kill between the upload and our note of it is made good by the tracker's own mark.
    """
    assert tracker.upload is not None
    known = ledger.get(name)
    if known["uploaded"]:
        return None
    path = place / known["folder"]
    if not (tracker.sent and tracker.sent(path)):
        done = tracker.upload(path)
        if done.fault:
            return done.fault
        known = known | ({"url": done.url} if done.url else {})
    ledger.put(name, {**known, "uploaded": True})
    return None
