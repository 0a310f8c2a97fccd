"""Copies of resume states in object storage, so that a run goes on after its machine is lost.

A thread copies each new state while training goes on. A state begins with its own checksum
(`scalelab.training.state`), so an object that was cut or altered is never taken for whole.
"""

import contextlib
import hashlib
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from scalelab.errors import TryAgain, UserError, first_line
from scalelab.plan import remote
from scalelab.training.state import DIGEST_BYTES

STATES = "SCALELAB_STATES"
"""Environment variable: the folder for copies, such as s3://bucket/states; unset: no copies."""
SLOTS = ("0.state", "1.state")
"""Objects of a run: a copy goes over the older one, so that the newer one is there if it is cut."""
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
        self.sent, self.slot = "", 0
        self.ended = threading.Event()

    def fetch(self) -> None:
        """Bring the newest whole copy here, unless a state that is here is as new.

        Raises:
            TryAgain: the storage cannot be asked; to begin anew would throw away what is there.
        """
        whole = (path.name for path in self.folder.glob("*.state") if is_whole(path))
        newest = max(whole, default="")
        for slot, name in enumerate(SLOTS):
            copy = self.folder / f".{name}.tmp"  # such names are swept when a run begins
            try:
                found = self._fetched(name, copy)
                if found > newest:
                    os.replace(copy, self.folder / found)
                    self.report(f"{self.address}/{name}: resume state taken from here")
                    newest, self.sent, self.slot = found, found, 1 - slot
            finally:
                copy.unlink(missing_ok=True)

    def _fetched(self, name: str, copy: Path) -> str:
        """The file name of the state in a copy, which is at `copy` now; empty where it is none."""
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.files.get_file(f"{self.path}/{name}", str(copy))
        except FileNotFoundError:
            return ""
        except Exception as error:
            raise TryAgain(
                f"{self.address}: resume states cannot be read: {first_line(error)}; the same "
                f"command tries again, without {STATES} the run begins anew"
            ) from None
        if not is_whole(copy):
            self.report(f"{self.address}/{name}: damaged (checksum differs), passed over")
            return ""
        payload = io.BytesIO(copy.read_bytes()[DIGEST_BYTES:])
        step = torch.load(payload, weights_only=True, map_location="cpu")["step"]
        return f"{step:09d}.state"  # as scalelab.training.state names it

    def send(self) -> None:
        """Copy the newest state that is here, if it was not copied yet, over the older copy.

        What fails is told and tried again with the next state: training does not wait for it.
        """
        newest = max((path.name for path in self.folder.glob("*.state")), default="")
        if newest in ("", self.sent):
            return
        name = SLOTS[self.slot]
        try:
            # put_file would make folders, which pyarrow does by objects that some servers refuse.
            key = f"{self.path}/{name}"
            with open(self.folder / newest, "rb") as source, self.files.open(key, "wb") as out:
                shutil.copyfileobj(source, out, BLOCK)
                size = source.tell()
            self.files.invalidate_cache()
            found = self.files.info(key)["size"]
            if found != size:
                raise OSError(f"{found:,} bytes arrived, expected {size:,}")
            self.slot = 1 - self.slot
        except Exception as error:
            if not (self.folder / newest).exists():
                return  # dropped meanwhile for a newer state, whose turn is next
            self.report(f"{self.address}/{name}: not copied: {first_line(error)}")
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
        for name in SLOTS:
            try:
                self.files.rm_file(f"{self.path}/{name}")
            except FileNotFoundError:
                continue
            except Exception as error:
                self.report(f"{self.address}/{name}: stays there: {first_line(error)}")


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
