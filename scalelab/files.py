"""Files that are whole or absent: written to a temporary name, synced, then renamed."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scalelab.errors import UserError, shown


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary file is removed when the block raises, so nothing half-written stays. One that a
    killed process left is removed when the same path is written again.
    """
    path = Path(path)
    with _temporary(path, folder=False) as temporary:
        try:
            yield temporary
            _sync(temporary)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path` for a folder; an older folder of that name is replaced."""
    path = Path(path)
    with _temporary(path, folder=True) as temporary:
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _sync(file)
            os.chmod(temporary, 0o777 & ~_umask())
            _replace_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    """Put a folder in the place of another, while others may do the same: the last one wins."""
    old = new.with_name(f"{new.name}.old.tmp")  # a name that is swept
    while True:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            os.rename(new, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _temporary(path: Path, folder: bool) -> Iterator[Path]:
    """A new file or folder beside `path`, locked for as long as this process is at work on it: the
    system frees the lock when a process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    _sweep(path.parent, prefix)
    while True:
        if folder:
            name = tempfile.mkdtemp(".tmp", prefix, path.parent)
            try:
                handle = os.open(name, os.O_RDONLY)
            except FileNotFoundError:
                continue
        else:
            handle, name = tempfile.mkstemp(".tmp", prefix, path.parent)
        try:
            _lock(handle)
            # Another process may have swept it in between, as it may above.
            if os.path.exists(name):
                yield Path(name)
                return
        finally:
            os.close(handle)


def _sweep(folder: Path, prefix: str) -> None:
    """Remove temporary files and folders of that name whose processes are gone."""
    for entry in os.scandir(folder):
        if not (entry.name.startswith(prefix) and entry.name.endswith(".tmp")):
            continue
        with contextlib.suppress(OSError):
            handle = os.open(entry.path, os.O_RDONLY)
            try:
                if _lock(handle):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    (shutil.rmtree if is_folder else os.unlink)(entry.path)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Whether an open file or folder is now locked by us; never where a disk knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: one of bytes that are none holds lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically; a `UserError` where it holds a name that is none."""
    if not is_text(text):
        line = next(line for line in text.splitlines() if not is_text(line))
        raise UserError(f"{path}: found {shown(line.strip())}, a name that is not UTF-8; rename it")
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Write strict JSON (no NaN, no Infinity) atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or broken file is a `UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path}: expected a JSON file, but {error}") from None


def finished(folder: Path, same: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """The manifest of a folder whose files are as it says; None where one is not, or is missing.

    Args:
        folder: holds manifest.json, and the files in its `files`, digests by name.
        same: whether a manifest is of what is wanted; asked before the files are read.
    """
    if not (folder / "manifest.json").is_file():
        return None
    try:
        manifest: dict[str, Any] = read_json(folder / "manifest.json")
        files = manifest["files"].items()
        if same(manifest) and all(file_sha256(folder / name) == sha for name, sha in files):
            return manifest
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None  # a broken or foreign folder is written anew
    return None


def cache_file(name: str) -> Path:
    """A file in the user's cache folder, for what was measured on this machine.

    Where that folder cannot be written to, or there is no home, one among the temporary files that
    is the user's alone: what was chosen by measurement must be found again by the next job.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    if not root:
        with contextlib.suppress(RuntimeError):  # a container whose user has no name and no home
            root = str(Path.home() / ".cache")
    if root and _takes_files(folder := Path(root) / "scalelab"):
        return folder / name
    folder = Path(tempfile.gettempdir(), f"scalelab-{os.getuid()}")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():
            return folder / name
    # Nowhere: callers then measure anew. A folder of that name that someone else made may hold
    # anything.
    return Path(os.devnull, name)


def _takes_files(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def canonical(value: Any) -> Any:
    """One form for equal values: 1e-3 and 0.001, 20 and 20.0, tuples and lists."""
    if isinstance(value, dict):
        return {str(key): canonical(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def canonical_json(value: Any) -> str:
    """Canonical values as one line of JSON with sorted keys."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, length: int = 12) -> str:
    """Hexadecimal SHA-256 of a value's canonical JSON, cut to `length` characters."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with open(path, "rb") as written:
        os.fsync(written.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
