"""Bytes to text: strict, with the place of what does not fit."""

import codecs
import io
from typing import Any, BinaryIO, cast

from scalelab.corpus.encoding import decode_guess
from scalelab.errors import UserError

BOM = codecs.BOM_UTF8
SAMPLE = 1 << 20
"""Bytes that an encoding is guessed from."""


class Wrong(Exception):
    """What is wrong with a document, as a sentence."""


def decode(place: str, data: bytes, start: int = 0) -> str:
    """UTF-8 to text, without one leading byte order mark.

    `start` is where in its file the data begins, for the message.

    Raises:
        Wrong: the bytes are not UTF-8; the first bad one is named.
    """
    lead = len(BOM) if start == 0 and data.startswith(BOM) else 0
    try:
        return data[lead:].decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + lead
        raise Wrong(
            f"{place}: invalid UTF-8 at byte {start + at} (0x{data[at]:02x}), expected UTF-8 text"
        ) from None


def as_utf8(name: str, stream: BinaryIO, encoding: str) -> tuple[BinaryIO, str]:
    """A stream of text in another encoding as UTF-8, and the name of that encoding.

    `detect` guesses the encoding of a file whose first megabyte is not UTF-8.

    Raises:
        Wrong: no encoding makes text of it.
    """
    if encoding == "detect":
        head = io.BufferedReader(cast(Any, stream), SAMPLE)
        stream = cast(BinaryIO, head)
        encoding = _guess(name, head.peek(SAMPLE))
    known = codecs.lookup(encoding).name
    if known in ("utf-8", "ascii"):
        return stream, "utf-8"
    return cast(BinaryIO, io.BufferedReader(_Recoded(name, stream, encoding), SAMPLE)), known


def _guess(name: str, sample: bytes) -> str:
    # The sample may end within a character.
    cuts = range(4) if len(sample) >= SAMPLE else range(1)
    for cut in cuts:
        try:
            sample[: len(sample) - cut].decode("utf-8")
            return "utf-8"
        except UnicodeDecodeError:
            continue
    reason = ""
    for cut in cuts:
        try:
            return decode_guess(sample[: len(sample) - cut])[1]
        except UserError as error:
            reason = reason or str(error)
    raise Wrong(f"{name}: {reason}")


class _Recoded(io.RawIOBase):
    def __init__(self, name: str, stream: BinaryIO, encoding: str) -> None:
        self._name, self._encoding = name, encoding
        self._stream = stream
        self._decode = codecs.getincrementaldecoder(encoding)().decode
        self._held = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._ended:
            data = self._stream.read(SAMPLE)
            self._ended = not data
            try:
                self._held = self._decode(data, final=self._ended).encode("utf-8")
            except UnicodeDecodeError as error:
                raise Wrong(
                    f"{self._name}: byte 0x{error.object[error.start]:02x} is not "
                    f"{self._encoding}, expected corpus.encoding to fit"
                ) from None
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size
