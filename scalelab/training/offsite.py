"""Copies of resume states in object storage, so that a run goes on after its machine is lost.

A thread copies each new state while training goes on. A state begins with its own checksum
(`scalelab.training.state`), so an object that was cut or altered is never taken for whole.
"""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scalelab.errors import TryAgain, UserError, first_line
from scalelab.files import atomic_path
from scalelab.plan import remote
from scalelab.training.state import DIGEST_BYTES

STATES = "SCALELAB_STATES"
"""Environment variable: the folder for copies, such as s3://bucket/states; unset: no copies."""
KEEP = 2
"""States kept of a run: the newest, and one that was there before it."""
LOOK_SECONDS = 1.0
"""How often the thread looks for a new state."""
REST = 4
"""Times the duration of a copy that passes before the next one, so that a slow network has rest."""
BLOCK = 1 << 22
SILENT_SECONDS = 120
"""A request to S3 fails when nothing arrives for so long."""


class Copies:
    """The copies of one run's states. Their file system is fsspec's, as for a corpus."""

    def __init__(self, address: str, folder: Path, report: Callable[[str], None]) -> None:
        """folder: that of the states, `.../runs/ID/state`; two parts of it name the copies."""
        if not remote.is_remote(address):
            raise UserError(
                f"{STATES}: found {address!r}, expected an address, s3://bucket/states say"
            )
        self.folder, self.report = folder, report
        self.address = "/".join([address.rstrip("/"), *folder.parent.parts[-2:]])
        self.files, self.path = opened(self.address)
        self.sent = ""
        self.ended = threading.Event()

    def fetch(self) -> None:
        """Bring the newest whole copy here, unless a state that is here is as new.

        Raises:
            TryAgain: the storage cannot be asked; to begin anew would throw away what is there.
        """
        here = max(
            (path.name for path in self.folder.glob("*.state") if is_whole(path)), default=""
        )
        try:
            for name in reversed(self._names()):
                if name <= here:
                    return
                if self._fetched(name):
                    self.sent = name
                    return
        except Exception as error:
            raise TryAgain(
                f"{self.address}: resume states cannot be read: {first_line(error)}; the same "
                f"command tries again, without {STATES} the run begins anew"
            ) from None

    def _fetched(self, name: str) -> bool:
        """Whether that copy was whole and is here now."""
        with contextlib.suppress(_Broken), atomic_path(self.folder / name) as temporary:
            self.files.get_file(f"{self.path}/{name}", str(temporary))
            if not is_whole(temporary):
                raise _Broken
            self.report(f"{self.address}/{name}: resume state taken from here")
            return True
        self.report(f"{self.address}/{name}: damaged (checksum differs), passed over")
        return False

    def send(self) -> None:
        """Copy the newest state that is here, if it was not copied yet, and drop old copies.

        What fails is told and tried again with the next state: training does not wait for it.
        """
        newest = max((path.name for path in self.folder.glob("*.state")), default="")
        if newest in ("", self.sent):
            return
        try:
            # put_file would make folders, which pyarrow does by objects that some servers refuse.
            with (
                open(self.folder / newest, "rb") as source,
                self.files.open(f"{self.path}/{newest}", "wb") as out,
            ):
                shutil.copyfileobj(source, out, BLOCK)
                size = source.tell()
            found = self._info(newest)["size"]
            if found != size:
                raise OSError(f"{found:,} bytes arrived, expected {size:,}")
            names = self._names()
            kept = [name for name in names if name <= newest][-KEEP:]
            for name in names:
                if name not in kept:  # a later one was passed over, as in scalelab.training.state
                    self.files.rm_file(f"{self.path}/{name}")
        except Exception as error:
            if not (self.folder / newest).exists():
                return  # dropped meanwhile for a newer state, whose turn is next
            self.report(f"{self.address}/{newest}: not copied: {first_line(error)}")
        self.sent = newest

    def keep_sending(self) -> None:
        """Send until `ended` is set: what the thread does."""
        pause = LOOK_SECONDS
        while not self.ended.wait(pause):
            before = time.monotonic()
            self.send()
            pause = max(LOOK_SECONDS, REST * (time.monotonic() - before))

    def remove(self) -> None:
        """Delete the copies of a run that has ended."""
        try:
            for name in self._names():
                self.files.rm_file(f"{self.path}/{name}")
        except Exception as error:
            self.report(f"{self.address}: old resume states stay there: {first_line(error)}")

    def _names(self) -> list[str]:
        """File names of the copies, oldest first."""
        self.files.invalidate_cache()
        try:
            found = self.files.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if name.endswith(".state"))


def opened(address: str) -> tuple[Any, str]:
    """`scalelab.plan.remote.filesystem`, with time for objects of gigabytes.

    pyarrow gives up when nothing arrives for 3 seconds, which a server may need to put the parts of
    a large object together, and its checksums within a request are more than some servers know.
    """
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    files, path = remote.filesystem(address)
    if getattr(files, "fs", None) is not None and files.fs.type_name == "s3":
        from pyarrow import fs

        files.fs = remote._s3(
            SimpleNamespace(
                S3FileSystem=partial(fs.S3FileSystem, request_timeout=SILENT_SECONDS),
                AwsStandardS3RetryStrategy=fs.AwsStandardS3RetryStrategy,
            )
        )
    return files, path


class _Broken(Exception):
    """A copy that is not whole."""


@contextlib.contextmanager
def copied(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Within it the states in `folder` are copied to where `SCALELAB_STATES` says.

    Before it the newest copy is fetched; after it the copies are removed, or brought up to date if
    it was left by an exception. Nothing is done where the variable is unset, and in all processes
    of a run but the first.
    """
    address = os.environ.get(STATES)
    if not address or os.environ.get("RANK", "0") != "0":
        yield
        return
    copies = Copies(address, folder, report)
    copies.fetch()
    thread = threading.Thread(target=copies.keep_sending, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        copies.ended.set()
        thread.join()
        copies.send()
        raise
    copies.ended.set()
    thread.join()
    copies.remove()


def is_whole(path: Path) -> bool:
    """Whether a state's checksum is that of what follows it."""
    total = hashlib.sha256()
    with open(path, "rb") as state:
        told = state.read(DIGEST_BYTES)
        while block := state.read(BLOCK):
            total.update(block)
    return total.digest() == told
