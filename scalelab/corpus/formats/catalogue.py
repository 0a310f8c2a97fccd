"""Message catalogues of programs (gettext's .mo): the translations, text in one language."""

import gettext
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader, too_long, wrong_text
from scalelab.errors import first_line

DOCUMENT_CHARACTERS = 4000
"""Messages that stand together make a document of about that length: one alone is too short."""


class Catalogue(gettext.GNUTranslations):
    """A catalogue whose messages can be listed, in the encoding that it names."""

    def translations(self) -> Iterator[str]:
        """All of them, of plurals each form; the header is none."""
        for original, told in self._catalog.items():  # type: ignore[attr-defined]
            if original and told.strip():
                yield told.strip()


@reader(".mo", seekable=True)
def compiled(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """Translations that stand together, a line or more each."""
    if stream.seek(0, 2) > MAX_DOCUMENT:
        yield Row(name, None, too_long(name))
        return
    stream.seek(0)
    try:
        texts = [*Catalogue(stream).translations()]  # type: ignore[arg-type]
    except (OSError, ValueError, LookupError, struct.error) as error:
        yield Row(name, None, f"{name}: not a whole message catalogue: {first_line(error)}")
        return
    gathered, size, first = [], 0, 1
    for number, text in enumerate(texts, 1):
        gathered.append(text)
        size += len(text)
        if size >= DOCUMENT_CHARACTERS or number == len(texts):
            yield _row(f"{name}, message {first}", "\n".join(gathered) + "\n")
            gathered, size, first = [], 0, number + 1


def _row(place: str, text: str) -> Row:
    wrong = wrong_text(place, text)
    return Row(place, None if wrong else text, wrong)
