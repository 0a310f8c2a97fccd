"""Resume state: checkpoints that are whole or absent, checked before use.

They live in a folder that is no declared output of a workflow rule, since those are deleted when a
job fails.
"""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import torch

from scalelab.files import atomic_path

KEEP = 2
DIGEST_BYTES = 32


def save(folder: Path, step: int, state: dict[str, Any]) -> int:
    """Write the state after `step` steps, drop old ones, return its size in bytes.

    The file is the SHA-256 of the payload followed by the payload (torch.save of tensors and plain
    values).
    """
    buffer = io.BytesIO()
    torch.save({"step": step, **state}, buffer)
    payload = buffer.getbuffer()
    with atomic_path(folder / f"{step:09d}.state") as temporary, open(temporary, "wb") as out:
        out.write(hashlib.sha256(payload).digest())
        out.write(payload)
    for old in _files(folder)[:-KEEP]:
        old.unlink(missing_ok=True)
    return DIGEST_BYTES + len(payload)


def load_newest(folder: Path, identity: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state of this identity, and a sentence for each one that was passed over.

    `identity` stands for specification, data and code: a state of another identity is of no use.
    """
    notes = []
    for path in reversed(_files(folder)):
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
            notes.append(f"{path}: damaged (checksum differs), passed over")
            continue
        state = torch.load(io.BytesIO(content[DIGEST_BYTES:]), weights_only=True)
        if state.get("identity") != identity:
            notes.append(f"{path}: made by other settings, data or code, passed over")
            continue
        return state, notes
    return None, notes


def remove(folder: Path) -> None:
    """Delete all states of a run that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.state"))
