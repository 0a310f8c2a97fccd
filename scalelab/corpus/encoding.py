"""The encoding of bytes that do not say it."""

from scalelab.errors import UserError

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
SAMPLE_BYTES = 262_144
"""Bytes around the first one outside ASCII that the encoding is judged by."""


def decode_guess(data: bytes) -> tuple[str, str]:
    """Text of `data` and the name of the encoding taken (a codec of Python).

    A byte order mark decides, then valid UTF-8; for other bytes charset_normalizer judges a sample
    and the whole must decode with its guess. The guess is a guess: short texts in single-byte
    encodings are often one another's.

    Raises:
        UserError: no encoding fits, as for binary data.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            try:
                return data.decode(name), name
            except UnicodeDecodeError:
                break  # a chance start of something else
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        first = error.start
    from charset_normalizer import from_bytes

    start = max(first - SAMPLE_BYTES // 2, 0)
    if b"\0" not in data:
        for match in from_bytes(data[start : start + SAMPLE_BYTES]):
            try:
                return data.decode(match.encoding), match.encoding
            except UnicodeDecodeError:
                continue
    raise UserError(f"no text encoding fits the bytes (not UTF-8 at byte {first})")
