"""Weights & Biases: runs written offline into the study's folder, uploaded by `wandb sync`.

An upload goes by W&B's id of a run, which is fixed, so what is sent twice replaces itself.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.tracking.record import Record
from scalelab.tracking.trackers import Tracker, Upload

UPLOAD_SECONDS = 120
"""Longest time that one upload may take; what is not uploaded stays on disk."""
PLACES = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config"}
"""Where W&B stages files; by default in the home folder, which may be full or read-only."""


def log(record: Record, folder: Path) -> str:
    """Write one offline run; returns the name of its folder."""
    import wandb

    with (
        _inside(folder),
        wandb.init(
            mode="offline",
            project=record.project,
            id=record.id,
            name=record.name,
            group=record.group,
            job_type=record.job_type,
            tags=list(record.tags),
            notes=record.notes or None,
            dir=str(folder.parent),
            config=record.config,
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),
        ) as mirrored,
    ):
        if record.lines:
            _curve(mirrored, record)
        if record.files:
            _fit(mirrored, record, wandb)
        mirrored.summary.update(record.summary)
        written = Path(mirrored.dir).parent
    return written.name


def _curve(mirrored: Any, record: Record) -> None:
    for axis in ("tokens", "flops"):
        mirrored.define_metric(axis, hidden=True)
    mirrored.define_metric("loss_nats", step_metric="tokens")
    mirrored.define_metric("loss_nats_by_flops", step_metric="flops")
    for other in ("lr", "grad_norm", "tokens_per_second"):
        mirrored.define_metric(other, step_metric="tokens")
    for line in record.lines:
        # The step is ours: W&B's own counts calls.
        mirrored.log({**line, "loss_nats_by_flops": line["loss_nats"]}, step=line["step"])


def _fit(mirrored: Any, record: Record, wandb: Any) -> None:
    """Figures and tables to look at, and all files as one artifact.

    Offline W&B cannot draw the lines of its own graph of artifacts (`use_artifact` needs a
    server), so the training runs stand in the metadata, and each of them names this run.
    """
    artifact = wandb.Artifact(
        f"{record.group}-results",
        type="scaling-law",
        description=f"laws.json, tables and figures of study {record.group}",
        metadata={"training_runs": list(record.runs), "digest": record.digest},
    )
    for name, path in record.files.items():
        artifact.add_file(str(path), name=name)
    mirrored.log_artifact(artifact)
    shown: dict[str, Any] = {title: wandb.Image(str(path)) for title, path in record.images.items()}
    for title, (columns, rows) in record.tables.items():
        shown[title] = wandb.Table(columns=columns, data=rows)
    if shown:
        mirrored.log(shown, step=0)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Keep W&B's files in the folder, and its words out of the terminal.

    W&B keeps its settings in the environment of the process it starts.
    """
    ours = {name: str((folder / place).absolute()) for name, place in PLACES.items()}
    ours |= {"WANDB_SILENT": os.environ.get("WANDB_SILENT", "true")}
    before = {name: os.environ.get(name) for name in ours}
    for name in PLACES:
        Path(ours[name]).mkdir(parents=True, exist_ok=True)
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def forget(record: Record, folder: Path) -> None:
    """Remove older offline copies of a run, so that an upload finds it once."""
    for old in folder.glob(f"*-{record.id}"):
        shutil.rmtree(old)
    if record.files:  # of all records of a study the fit alone has staged some
        shutil.rmtree(folder / "data" / "artifacts" / "staging", ignore_errors=True)


def upload(run_folder: Path) -> Upload:
    """Upload one offline run.

    `wandb sync` ends well where the server refuses a run (401, 403) and only says so; the mark
    that it leaves when all is sent is missing then.
    """
    later = f"upload later with: scalelab sync --study {run_folder.parent.parent}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(run_folder)],
            capture_output=True,
            text=True,
            timeout=UPLOAD_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Upload(f"W&B did not answer within {UPLOAD_SECONDS} s; {later}")
    except OSError as error:
        return Upload(f"W&B could not be started ({error}); {later}")
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode or ("ERROR" in said and not sent(run_folder)):
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        wrong = [line for line in lines if "ERROR" in line] or lines[-1:] or ["no message"]
        return Upload(f"W&B refused the upload ({wrong[-1]}); {later}")
    place = re.search(r"https://\S+/runs/[\w-]+", said)
    return Upload(url=place[0] if place else None)


def sent(run_folder: Path) -> bool:
    """Whether `wandb sync` left its mark: it does so when all is sent."""
    return any(run_folder.glob("*.wandb.synced"))


TRACKER = Tracker("wandb", log, forget, upload, sent, package="wandb")
