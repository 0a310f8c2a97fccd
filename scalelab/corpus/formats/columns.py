"""Parquet and Arrow files: a row is a document, its text in one column; others are not read."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.decoding import Wrong, decode
from scalelab.corpus.formats import Row, reader
from scalelab.errors import UserError

BATCH_ROWS = 1000


@reader(".parquet", seekable=True)
def parquet(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """Row group by row group."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    column = config["text_field"]
    try:
        file = ParquetFile(stream)
        _known(name, file.schema_arrow, column)
        batches = file.iter_batches(BATCH_ROWS, columns=[column])
        yield from _rows(name, batches, column)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowIOError) as error:
        raise UserError(f"{name}: not a whole Parquet file: {_line(error)}") from None


@reader(".arrow", seekable=True)
def arrow(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """An IPC file or stream, as `datasets` writes them."""
    import pyarrow

    column = config["text_field"]
    try:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        if is_file:
            file = pyarrow.ipc.open_file(stream)
            _known(name, file.schema, column)
            batches = (file.get_batch(number) for number in range(file.num_record_batches))
        else:
            batches = pyarrow.ipc.open_stream(stream)
            _known(name, batches.schema, column)
        yield from _rows(name, batches, column)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowIOError) as error:
        raise UserError(f"{name}: not a whole Arrow file: {_line(error)}") from None


def _known(name: str, schema: Any, column: str) -> None:
    import pyarrow

    if column not in schema.names:
        there = ", ".join(map(repr, schema.names)) or "none"
        raise UserError(f"{name}: no column {column!r}; the columns are {there}")
    kind = schema.field(column).type
    kind = getattr(kind, "value_type", kind) if pyarrow.types.is_dictionary(kind) else kind
    if not any(
        test(kind)
        for test in (
            *(pyarrow.types.is_string, pyarrow.types.is_large_string),
            *(pyarrow.types.is_binary, pyarrow.types.is_large_binary),
            *(pyarrow.types.is_string_view, pyarrow.types.is_null),
        )
    ):
        raise UserError(f"{name}: expected text in {column!r}, found {kind}")


def _rows(name: str, batches: Any, column: str) -> Iterator[Row]:
    import pyarrow

    number = 0
    for batch in batches:
        # As bytes, since nothing has checked that a column of strings is valid UTF-8.
        values = batch.column(batch.schema.get_field_index(column)).cast(pyarrow.large_binary())
        for value in values:
            number += 1
            place = f"{name}, row {number}"
            data = value.as_py()
            try:
                yield Row(place, None if data is None else decode(place, data))
            except Wrong as error:
                yield Row(place, None, str(error))


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
