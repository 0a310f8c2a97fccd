"""Files opened as plain streams of bytes, wherever they lie and however they are packed."""

import bz2
import gzip
import hashlib
import io
import lzma
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from scalelab.errors import TryAgain, UserError, first_line
from scalelab.plan import remote
from scalelab.plan.files import PACKED

MAGIC = {
    ".gz": re.compile(rb"\x1f\x8b"),
    ".bz2": re.compile(rb"BZh[1-9](1AY&|\x17rE8)"),  # a block, or the end: text may start with BZh
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd"),
}
"""First bytes of a packed file: they decide, not the name."""
CHUNK = 1 << 20


class Changed(UserError):
    """A file is not the one that was planned, which no `on_error` passes over."""


@contextmanager
def opened(entry: dict[str, Any]) -> Iterator[BinaryIO]:
    """The unpacked content of a planned file as a buffered stream, checked against the plan.

    Args:
        entry: `{"name", "bytes", "sha256" or "version"}` of `scalelab.plan.files.describe`.

    Raises:
        UserError: the file is gone, was changed since the plan, or is cut or damaged.
    """
    name = entry["name"]
    with _raw(entry) as raw:
        counted = _Counted(raw)
        plain = io.BufferedReader(counted, CHUNK)
        packer = _packer(name, plain.peek(8)[:8])
        try:
            yield plain if packer is None else _unpacked(packer, plain)
            while plain.read(CHUNK):  # what stands behind the last document is part of the digest
                pass
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if packer is None:
                raise UserError(f"{name}: cannot be read: {error}") from None
            raise UserError(f"{name}: broken {WORDS[packer]} file: {error}") from None
        finally:
            counted.detach_source()
        if "sha256" in entry and counted.digest.hexdigest() != entry["sha256"]:
            raise Changed(f"{name}: changed since the corpus was planned; plan again")


WORDS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


@contextmanager
def seekable(entry: dict[str, Any]) -> Iterator[BinaryIO]:
    """The same for formats that are read from their end: a plain local file, or a copy of it.

    A packed or remote file is written to a temporary file first.
    """
    name = entry["name"]
    if not remote.is_remote(name) and Path(name.lower()).suffix not in PACKED:
        with _raw(entry) as plain:
            if _packer(name, plain.read(8)) is None:
                plain.seek(0)
                if hashlib.file_digest(cast(Any, plain), "sha256").hexdigest() != entry["sha256"]:
                    raise Changed(f"{name}: changed since the corpus was planned; plan again")
                plain.seek(0)
                yield plain
                return
    with opened(entry) as stream, tempfile.TemporaryFile() as copy:
        while data := stream.read(CHUNK):
            copy.write(data)
        copy.seek(0)
        yield cast(BinaryIO, copy)


@contextmanager
def _raw(entry: dict[str, Any]) -> Iterator[BinaryIO]:
    name = entry["name"]
    try:
        if not remote.is_remote(name):
            with open(name, "rb") as local:
                yield local
            return
        if remote.version(name) != entry["version"]:
            raise Changed(f"{name}: changed since the corpus was planned; plan again")
        files, path = remote.filesystem(name)
        source = files.open(path, "rb")
    except OSError as error:
        if not remote.is_remote(name):
            raise UserError(f"{name}: cannot be read: {error.strerror or error}") from None
        raise TryAgain(f"{name}: cannot be read: {first_line(error)}") from None
    with source:
        yield cast(BinaryIO, _Remote(name, source))


def _packer(name: str, head: bytes) -> str | None:
    found = next((ending for ending, magic in MAGIC.items() if magic.match(head)), None)
    named = Path(name.lower()).suffix
    if found is None and named in PACKED:
        raise UserError(
            f"{name}: not {WORDS[named]} (starts with {head[:4].hex(' ')}), expected what its name "
            "says"
        )
    return found


def _unpacked(packer: str, stream: BinaryIO) -> BinaryIO:
    if packer == ".zst":
        import pyarrow

        unpacked = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, "r"), "zstd")
        return cast(BinaryIO, io.BufferedReader(unpacked, CHUNK))
    opener: Any = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}[packer]
    options = {"fileobj": stream} if packer == ".gz" else {"filename": stream}
    return cast(BinaryIO, io.BufferedReader(opener(mode="rb", **options), CHUNK))


class _Remote:
    """A remote file, whose failures say that another try may succeed."""

    def __init__(self, name: str, source: Any) -> None:
        self._name, self._source = name, source

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._source.read(size))
        except Exception as error:  # stores have errors of their own
            reason = f"reading was interrupted: {first_line(error)}"
            raise TryAgain(f"{self._name}: {reason}") from None


class _Counted(io.RawIOBase):
    """A stream that keeps the SHA-256 of what was read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source: BinaryIO | None = source
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert self._source is not None
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        return len(data)

    def detach_source(self) -> None:
        """Leave the file behind it open for its owner."""
        self._source = None
