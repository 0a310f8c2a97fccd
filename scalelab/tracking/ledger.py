"""logged.json: what was written for a tracker, and what of it was uploaded."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scalelab.errors import UserError
from scalelab.files import read_json, write_json

FILE = "logged.json"
WAIT_SECONDS = 180.0
"""More than one upload may take."""


class Ledger:
    """{id: {digest, folder, uploaded}}, written anew after each change."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.entries: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(UserError):  # damaged, or none yet: all is written anew
            found = read_json(self.path)
            if isinstance(found, dict):
                self.entries = {k: v for k, v in found.items() if isinstance(v, dict)}

    def get(self, name: str) -> dict[str, Any]:
        """What is known of a run; {} for nothing."""
        return self.entries.get(name, {})

    def put(self, name: str, entry: dict[str, Any]) -> None:
        """Keep what is known of a run."""
        if self.entries.get(name) != entry:
            self.entries[name] = entry
            write_json(self.path, self.entries)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a tracker's folder, so that nothing is sent by two processes at a time.

    Raises:
        UserError: another process holds it for longer than an upload takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise UserError(f"{folder}: another process logs or uploads these runs") from None
    try:
        yield
    finally:
        lock.release()
