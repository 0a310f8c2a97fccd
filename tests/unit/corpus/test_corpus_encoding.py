"""Bytes whose encoding is not told."""

import pytest

from scalelab.corpus.encoding import decode_guess
from scalelab.errors import UserError

GERMAN = "Die Straße führt über die Brücke, und wer schön müde ist, bleibt darunter. " * 20
RUSSIAN = "В порту было тихо, пока не пришёл первый паром с острова. " * 20


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("plain", "ascii", "utf-8"),
        (GERMAN, "utf-8", "utf-8"),
        (GERMAN, "utf-8-sig", "utf-8-sig"),
        (GERMAN, "utf-16", "utf-16"),
        (GERMAN, "utf-32", "utf-32"),
        ("", "utf-8", "utf-8"),
        ("a\0b", "utf-8", "utf-8"),
    ],
)
def test_what_the_bytes_say_is_taken(text: str, encoding: str, name: str) -> None:
    assert decode_guess(text.encode(encoding)) == (text, name)


@pytest.mark.parametrize(
    ("text", "encoding"), [(GERMAN, "latin-1"), (GERMAN, "cp1252"), (RUSSIAN, "cp1251")]
)
def test_a_single_byte_encoding_is_guessed(text: str, encoding: str) -> None:
    assert decode_guess(text.encode(encoding))[0] == text


def test_a_bad_byte_late_in_a_large_text_is_seen() -> None:
    text = "plain words\n" * 60_000 + GERMAN
    assert decode_guess(text.encode("cp1252"))[0] == text


def test_binary_data_are_refused() -> None:
    with pytest.raises(UserError, match=r"no text encoding fits .* byte 1\)"):
        decode_guess(b"a\x89\xff\x00\x01\xfe" * 100)
