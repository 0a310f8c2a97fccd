"""Files of text that a study names: what is read, where it lies, what it holds. No numpy."""

import contextlib
import functools
import glob
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import cache_file, digest, file_sha256, is_text, write_json
from scalelab.plan import remote

FORMATS = (
    *(".txt", ".md", ".py", ".html", ".htm"),
    *(".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".mo"),
)
"""Endings of the files that are read."""
PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Endings that may follow."""
REMEMBERED_BYTES = 64_000_000
"""Digests of files of at least this size are kept from one plan to the next."""


def describe(paths: Iterable[str], where: str = "corpus.paths") -> list[dict[str, Any]]:
    """What files hold, in the order of their names: `{"name", "bytes", "sha256"}`.

    A remote file has `version` in place of the digest: what its store says tells two contents
    apart (time of change and size, or ETag).

    Raises:
        UserError: nothing is given; a path is missing, unreadable, empty or a folder; a glob
            matches no file; a kind of file is not read; a name is no text.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in paths:
        if remote.is_remote(entry):
            found.update({row["name"]: row for row in remote.describe(entry, where)})
        else:
            found.update({name: {} for name in _matches(entry, where)})
    if not found:
        raise UserError(f"{where}: empty, but the source `files` needs at least one path")
    for name in sorted(found):
        if not is_text(name):
            raise UserError(f"{where}: found {name!r}, a name that is not UTF-8; rename the file")
        if not suffix(name):
            raise UserError(
                f"{name}: expected a file that ends in {', '.join(FORMATS)} "
                f"(or in one of them and {', '.join(PACKED)})"
            )
    return [found[name] or _describe(Path(name)) for name in sorted(found)]


def suffix(name: str) -> str | None:
    """The ending that says how a file is read, without that of a packer; None if it is not read."""
    path = Path(name.lower())
    ending = path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
    return ending if ending in FORMATS else None


def _matches(entry: str, where: str) -> list[str]:
    path = Path(entry)
    if glob.has_magic(entry) and not path.exists():
        names = [name for name in glob.glob(entry, recursive=True) if Path(name).is_file()]
        if not names:
            raise UserError(f"{where}: {entry!r} matches no file")
    elif path.is_dir():
        raise UserError(
            f"{where}: {entry!r} is a folder, expected a file or a glob "
            f"such as {entry.rstrip('/')}/**/*.txt"
        )
    elif not path.is_file():
        raise UserError(f"{where}: {entry!r}: no such file")
    else:
        names = [entry]
    return [Path(name).as_posix() for name in names]


def _describe(path: Path) -> dict[str, Any]:
    name = path.as_posix()
    try:
        known = path.stat()
        if not known.st_size:
            raise UserError(f"{name}: is empty, expected text")
        return {"name": name, "bytes": known.st_size, "sha256": remembered_sha256(path)}
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from None


def remembered_sha256(path: Path) -> str:
    """The digest of a file; every job plans anew, so a large file is read once until it changes."""
    known = path.stat()
    if known.st_size < REMEMBERED_BYTES:
        return file_sha256(path)
    return _remembered((str(path.resolve()), known.st_size, known.st_mtime_ns, known.st_ino))


@functools.cache
def _remembered(stamp: tuple[str, int, int, int]) -> str:
    note = cache_file(f"digests/{digest(stamp)}.json")
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        sha256 = file_sha256(stamp[0])
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        write_json(note, {"file": stamp[0], "bytes": stamp[1], "sha256": sha256})
    return sha256
