"""Text, Markdown and Python files: a file is a document, or several with a separator between."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.decoding import Wrong, decode
from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader, too_long

CHUNK = 1 << 20


@reader(".txt", ".md", ".py")
def plain(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """The whole file, or what stands between separators."""
    separator = config["document_separator"]
    if separator is None:
        data = stream.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            way_out = "corpus.document_separator reads many documents from one file"
            yield Row(name, None, f"{too_long(name)}; {way_out}")
        else:
            yield decoded(name, data, 0)
        return
    for number, (start, part) in enumerate(_parts(stream, separator.encode("utf-8")), 1):
        place = f"{name}#{number}"
        long = len(part) > MAX_DOCUMENT
        yield Row(place, None, too_long(place)) if long else decoded(place, part, start)


def decoded(place: str, data: bytes, start: int) -> Row:
    """A document from its bytes, which begin at `start` in their file."""
    try:
        return Row(place, decode(place, data, start))
    except Wrong as error:
        return Row(place, None, str(error))


def _parts(stream: BinaryIO, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) between separators; of a part that is too long no more than tells so."""
    start, held, passed = 0, bytearray(), 0
    while chunk := stream.read(CHUNK):
        seen = max(len(held) - len(separator) + 1, 0)
        held += chunk
        while (end := held.find(separator, seen)) >= 0:
            yield start, bytes(held[:end])
            start += passed + end + len(separator)
            del held[: end + len(separator)]
            seen = passed = 0
        room = MAX_DOCUMENT + 1 + len(separator)
        if len(held) > room:  # its middle goes, its end may hold the start of a separator
            passed += len(held) - room
            del held[MAX_DOCUMENT + 1 : len(held) - len(separator)]
    yield start, bytes(held)
