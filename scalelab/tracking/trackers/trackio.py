"""trackio: a database in the study's folder; `trackio show` with TRACKIO_DIR there shows it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.tracking.record import Record
from scalelab.tracking.trackers import Tracker

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")
"""Variables that would send runs over a network."""


def log(record: Record, folder: Path) -> str:
    """One run of the project's database."""
    with _inside(folder) as trackio:
        run = trackio.init(
            project=record.project,
            name=record.id,
            group=record.group,
            config=_plain(
                {
                    "name": record.name,
                    "job_type": record.job_type,
                    "tags": list(record.tags),
                    "training_runs": list(record.runs),
                    **record.config,
                    "summary": record.summary,
                }
            ),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for line in record.lines:
            run.log({key: line[key] for key in line if key != "step"}, step=line["step"])
        for title, path in record.images.items():
            run.log({title: trackio.Image(str(path))}, step=0)
        trackio.finish()
    return record.id


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Keys that begin with an underscore are trackio's own."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[Any]:
    """The library, with its files in the folder. It reads its place once, when it is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TRACKIO_DIR"] = str(folder.absolute())
    kept = {name: os.environ.pop(name) for name in ELSEWHERE if name in os.environ}
    try:
        import trackio

        with contextlib.redirect_stdout(None):
            yield trackio
    finally:
        os.environ.update(kept)


def forget(record: Record, folder: Path) -> None:
    """Remove the older run of that name: a second one would stand beside it."""
    if not folder.is_dir():
        return
    with _inside(folder):
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.delete_run(record.project, record.id)


TRACKER = Tracker("trackio", log, forget, package="trackio", extra="trackers")
