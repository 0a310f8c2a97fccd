"""JSON lines: a line is a document, its text in one field; no other field is looked at."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.decoding import Wrong, decode
from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader


@reader(".jsonl")
def jsonl(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """One document a line that is not blank.

    Only a line feed ends a line: JSON texts may hold other characters that split lines.
    """
    start = number = 0
    while line := stream.readline(MAX_DOCUMENT + 1):
        number += 1
        place = f"{name}:{number}"
        if len(line) > MAX_DOCUMENT and not line.endswith(b"\n"):
            size = f"{MAX_DOCUMENT // 10**6} MB"
            yield Row(place, None, f"{place}: a line of more than {size}, expected a shorter one")
            while rest := stream.readline(MAX_DOCUMENT):
                start += len(rest)
                if rest.endswith(b"\n"):
                    break
        elif line.strip():
            yield _row(place, name, line, start, config["text_field"])
        start += len(line)


def _row(place: str, name: str, line: bytes, start: int, key: str) -> Row:
    try:
        text = decode(name, line.rstrip(b"\n"), start)
        value = json.loads(text)
    except Wrong as error:
        return Row(place, None, str(error))
    except (ValueError, RecursionError) as error:
        return Row(place, None, f"{place}: expected a JSON object, but {error}")
    if not isinstance(value, dict):
        return Row(place, None, f"{place}: expected a JSON object, found {type(value).__name__}")
    if key not in value:
        keys = ", ".join(map(repr, value)) or "none"
        return Row(place, None, f"{place}: no field {key!r}; the keys are {keys}")
    found = value[key]
    if found is not None and not isinstance(found, str):
        kind = type(found).__name__
        return Row(place, None, f"{place}: expected text in {key!r}, found {kind}")
    return Row(place, found)
