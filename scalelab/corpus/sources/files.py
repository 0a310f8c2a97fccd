"""Local text files: a .txt, .md or .py file is a document, and so is a line of a .jsonl file."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import Report, source
from scalelab.errors import UserError
from scalelab.plan.data import suffix

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@source("files")
def local_files(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Documents of the files in the fingerprint, their bytes kept exactly.

    Line ends are not translated; one leading byte order mark is removed. Empty, null and blank
    documents are counted and left out. A file is unpacked when it starts as gzip does, whatever
    its name.

    Raises:
        UserError: a file is gone or changed since the plan, is not UTF-8, is broken gzip, or a
            line of a .jsonl file is not an object with a text in `text_field`.
    """
    for entry in fingerprint["files"]:
        name = entry["name"]
        data = _read(name, entry["sha256"])
        tally.add("read", len(data))
        if suffix(name) == ".jsonl":
            documents = _lines(name, data, config["text_field"])
        else:
            documents = iter([(name, decode(name, data))])
        for place, text in documents:
            reason = _skip(text)
            if reason is None:
                assert text is not None
                yield Document(place, text)
            else:
                tally.add(reason, len((text or "").encode("utf-8")))


def decode(name: str, data: bytes) -> str:
    """Strict UTF-8 without one leading byte order mark; `UserError` names the first bad byte."""
    try:
        return data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        place = error.start + (len(_BOM) if data.startswith(_BOM) else 0)
        raise UserError(
            f"{name}: invalid UTF-8 at byte {place} (0x{data[place]:02x}), expected UTF-8 text"
        ) from None


def _read(name: str, sha256: str) -> bytes:
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{name}: changed since the corpus was planned; plan again")
    if data.startswith(_GZIP):
        try:
            return gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{name}: broken gzip file: {error}") from None
    return data


def _lines(name: str, data: bytes, key: str) -> Iterator[tuple[str, str | None]]:
    # Only a line feed ends a line: JSON texts may hold other characters that split lines.
    for number, line in enumerate(decode(name, data).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{place}: expected a JSON object, but {error}") from None
        if not isinstance(value, dict):
            raise UserError(f"{place}: expected a JSON object, found {type(value).__name__}")
        if key not in value:
            keys = ", ".join(map(repr, value)) or "none"
            raise UserError(f"{place}: no field {key!r}; the keys are {keys}")
        text = value[key]
        if text is not None and not isinstance(text, str):
            raise UserError(f"{place}: expected text in {key!r}, found {type(text).__name__}")
        if text is not None and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UserError(f"{place}: half of a surrogate pair in {key!r}, expected valid Unicode")
        yield place, text


def _skip(text: str | None) -> str | None:
    if text is None:
        return "null"
    if not text:
        return "empty"
    return "blank" if text.isspace() else None
