"""A disk of its own for a test, which can be full or read-only: root may write everywhere else."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*words: str) -> subprocess.CompletedProcess[str]:
    """`mount WORDS`."""
    return subprocess.run(["mount", *words], capture_output=True, text=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory of that size; skips with the reason where none can be mounted."""
    folder.mkdir()
    try:
        done = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def change(folder: Path, options: str) -> None:
    """Mount it again with other options."""
    done = mount("-o", f"remount,{options}", str(folder))
    assert done.returncode == 0, done.stderr
