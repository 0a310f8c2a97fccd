"""Resume state: checkpoints that are whole or absent, checked before use.

They live in a folder that is no declared output of a workflow rule, since those are deleted when a
job fails.
"""

import hashlib
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from scalelab.errors import UserError, first_line
from scalelab.files import atomic_path

KEEP = 2
DIGEST_BYTES = 32


def write(path: Path, content: dict[str, Any]) -> int:
    """Write one state and return its size in bytes.

    The file is the SHA-256 of the payload followed by the payload (torch.save of tensors and plain
    values).
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    with atomic_path(path) as temporary, open(temporary, "wb") as out:
        out.write(hashlib.sha256(payload).digest())
        out.write(payload)
    return DIGEST_BYTES + len(payload)


def load(path: Path, identity: str) -> dict[str, Any]:
    """One state of this identity, which stands for specification, data and code.

    Raises:
        UserError: damaged, or of another identity.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise UserError(f"{path}: damaged (checksum differs)")
    try:
        state: Any = torch.load(
            io.BytesIO(content[DIGEST_BYTES:]), weights_only=True, map_location="cpu"
        )
    except Exception as error:  # whatever bytes may stand there; none of them is run
        raise UserError(f"{path}: expected a state, found {_kind(error)}") from None
    if not isinstance(state, dict) or state.get("identity") != identity:
        raise UserError(f"{path}: made by other settings, data or code")
    return dict(state)


def _kind(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "objects that are neither tensors nor plain values, which are not loaded"
    return f"bytes that cannot be read ({first_line(error)})"


def save(folder: Path, step: int, content: dict[str, Any]) -> int:
    """Write the state after `step` steps, drop the others but the one before, return its bytes.

    A state of a later step was passed over (damaged, or of other settings): were it counted, the
    new ones would be dropped for it.
    """
    path = folder / f"{step:09d}.state"
    size = write(path, {"step": step, **content})
    kept = [other for other in _files(folder) if other <= path][-KEEP:]
    for other in _files(folder):
        if other not in kept:
            other.unlink(missing_ok=True)
    return size


def load_newest(folder: Path, identity: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state of this identity, and a sentence for each one that was passed over."""
    notes: list[str] = []
    for path in reversed(_files(folder)):
        try:
            return load(path, identity), notes
        except UserError as error:
            notes.append(f"{error}, passed over")
    return None, notes


def remove(folder: Path) -> None:
    """Delete all states of a run that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.state"))
