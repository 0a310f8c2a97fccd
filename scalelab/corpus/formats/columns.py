"""Parquet and Arrow files: a row is a document, its text in one column; others are not read."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader, too_long
from scalelab.corpus.formats.plain import decoded
from scalelab.errors import UserError, first_line

BATCH_ROWS = 1000
BATCH_BYTES = 16_000_000
"""What a batch of rows may hold where their mean length says so."""


@reader(".parquet", seekable=True)
def parquet(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """A batch of rows at a time, as many as the mean length of a row allows."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    column = config["text_field"]
    try:
        file = ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
        _known(name, file.schema_arrow, column)
        batches = file.iter_batches(_batch_rows(file.metadata), columns=[column])
        yield from _rows(name, batches, column)
    except (pyarrow.ArrowException, pyarrow.ArrowIOError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a whole Parquet file: {first_line(error)}") from None


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
    except (pyarrow.ArrowException, pyarrow.ArrowIOError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a whole Arrow file: {first_line(error)}") from None


def _batch_rows(metadata: Any) -> int:
    """Rows that fit a batch, by the bytes of the fullest row group.

    Its other columns count too: to ask a damaged file for one column's ends the process, since
    pyarrow takes no exception there.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    means = [group.total_byte_size / max(group.num_rows, 1) for group in groups]
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max([*means, 1]))))


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
            data = value.as_buffer()
            if data is not None and data.size > MAX_DOCUMENT:
                yield Row(place, None, too_long(place))
            elif data is None:
                yield Row(place, None)
            else:
                yield decoded(place, data.to_pybytes(), 0)
