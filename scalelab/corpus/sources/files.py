"""Files of text, local or in object storage, of every kind in `scalelab.corpus.formats`."""

from collections.abc import Iterator
from typing import Any

from scalelab.corpus.decoding import Wrong, as_utf8
from scalelab.corpus.documents import Document, Tally, utf8_size
from scalelab.corpus.formats import Kind, Row, kinds, wrong_text
from scalelab.corpus.opening import Changed, opened, seekable
from scalelab.corpus.sources import Report, source
from scalelab.errors import TryAgain, UserError
from scalelab.plan.files import suffix

NAMED = 10
"""How many documents that are left out for a fault are named, of each preparation."""


@source("files")
def local_files(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Documents of the files in the fingerprint, their bytes kept exactly.

    Line ends are not translated; one leading byte order mark is removed. Empty, null and blank
    documents are counted and left out. A file is unpacked when it starts as a packed one does,
    whatever its name. Memory holds one document (at most 64 MB), not the file.

    Raises:
        UserError: a file is gone or changed since the plan, or is damaged, or a document in it
            cannot be read; with `on_error: skip` only the first of these.
    """
    files = fingerprint["files"]
    for number in range(tally.first(), len(files)):
        tally.begin(number)
        tally.add("read", files[number]["bytes"])
        rows = _rows(files[number], config, tally)
        yield from documents(rows, config["on_error"] == "skip", tally, report)


def documents(rows: Iterator[Row], skip: bool, tally: Tally, report: Report) -> Iterator[Document]:
    """Rows with a text as documents; the others are counted by reason, or raise `UserError`."""
    for place, text, wrong in rows:
        reason = wrong or (wrong_text(place, text) if text else None)
        if reason is not None:
            if not skip:
                raise UserError(reason)
            tally.add("unreadable", 0)
            count = tally.documents["unreadable"]
            if count <= NAMED:
                report(f"corpus: left out: {reason}")
            if count == NAMED:
                report("corpus: further ones are counted only")
        elif not text:
            tally.add("null" if text is None else "empty", 0)
        elif text.isspace():
            tally.add("blank", utf8_size(text))
        else:
            yield Document(place, text)


def _rows(entry: dict[str, Any], config: dict[str, Any], tally: Tally) -> Iterator[Row]:
    """Rows of a file; what is wrong with the file as a whole is a row too, where it may be."""
    name = entry["name"]
    kind: Kind = kinds()[str(suffix(name))]
    try:
        with (seekable if kind.seekable else opened)(entry) as stream:
            if not kind.seekable and config["encoding"] != "utf-8":
                stream, encoding = as_utf8(name, stream, config["encoding"])
                if encoding != "utf-8":
                    tally.add(f"read as {encoding}", entry["bytes"])
            yield from kind.read(name, stream, config)
    except Wrong as error:
        yield Row(name, None, str(error))
    except (TryAgain, Changed):
        raise
    except UserError as error:
        if config["on_error"] != "skip":
            raise
        yield Row(name, None, str(error))
