"""No tracker: the local files are all there is."""

from pathlib import Path

from scalelab.tracking.record import Record
from scalelab.tracking.trackers import Tracker


def log(record: Record, folder: Path) -> str:
    """Nothing to do."""
    return ""


def forget(record: Record, folder: Path) -> None:
    """Nothing to remove."""


TRACKER = Tracker("none", log, forget)
