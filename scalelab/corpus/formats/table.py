"""CSV and TSV files with a first line of names: a row is a document, its text in one column."""

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader
from scalelab.errors import UserError, first_line


@reader(".csv")
def comma(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """RFC 4180: commas, quotes doubled, line ends within quotes kept."""
    return _rows(name, stream, config["text_field"], ",")


@reader(".tsv")
def tab(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """The same with tabs."""
    return _rows(name, stream, config["text_field"], "\t")


def _rows(name: str, stream: BinaryIO, column: str, delimiter: str) -> Iterator[Row]:
    # Bytes that are not UTF-8 become lone surrogates, so that they are found in their row.
    wrapped = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
    before = csv.field_size_limit(MAX_DOCUMENT)
    try:
        lines = _Lines(wrapped)
        table = csv.reader(lines, delimiter=delimiter, strict=True)
        yield from _read(name, table, lines, column)
    finally:
        csv.field_size_limit(before)
        wrapped.detach()


class _Lines:
    """Lines of a table; of one that is too long no more is held than tells so."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_DOCUMENT + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_DOCUMENT and line[-1] not in "\r\n":
            while line and line[-1] not in "\r\n":
                line = self._text.readline(MAX_DOCUMENT)
            raise csv.Error(f"a line of more than {MAX_DOCUMENT // 10**6} MB")
        return line


def _read(name: str, table: Any, lines: _Lines, column: str) -> Iterator[Row]:
    try:
        names = [title.removeprefix("\ufeff") for title in next(table, [])]
    except csv.Error as error:
        raise UserError(
            f"{name}:1: expected a line with the names of columns, but {first_line(error)}"
        ) from None
    if column not in names:
        there = ", ".join(map(repr, names)) or "none"
        raise UserError(f"{name}: no column {column!r}; the columns are {there}")
    at = names.index(column)
    while True:
        place = f"{name}:{lines.number + 1}"
        try:
            row = next(table, None)
        except csv.Error as error:
            yield Row(place, None, f"{place}: expected a row of CSV, but {first_line(error)}")
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(names):
            found = f"{place}: {len(row)} fields, expected {len(names)} as in the first line"
            yield Row(place, None, found)
        elif not row[at].isascii() and any("\udc80" <= letter <= "\udcff" for letter in row[at]):
            yield Row(place, None, f"{place}: invalid UTF-8 in {column!r}, expected UTF-8 text")
        else:
            yield Row(place, row[at])
