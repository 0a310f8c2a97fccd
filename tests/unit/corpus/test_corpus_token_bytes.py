import numpy as np
import pytest
import tokenizer_files as made
from tokenizers import Tokenizer

from scalelab.corpus.token_bytes import byte_places, byte_table, bytes_of_tokens

TEXT = "the naïve 日本語 🙂 CAT\n\n ﬁne "


def sizes(tokenizer: Tokenizer, text: str) -> np.ndarray:
    tokenizer.encode_special_tokens = True
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids)
    return bytes_of_tokens(tokenizer, text, ids)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("fallback", [False, True])
def test_bytes_of_the_original_text_whatever_the_tokenizer(fallback: bool, lower: bool) -> None:
    """Unknown characters, bytes to fall back on, an added space, lower case."""
    tokenizer = made.pieces(fallback=fallback, lower=lower)
    for text in (TEXT, " the", "the", "日", "  ", "a" * 50):
        found = sizes(tokenizer, text)
        assert found.sum() == len(text.encode()) and (found >= 0).all()
    assert sizes(tokenizer, "").size == 0


def test_bytes_of_a_token_are_those_of_its_characters() -> None:
    tokenizer = made.pieces()
    assert sizes(tokenizer, "the cat").tolist() == [3, 4], "the space in front is not in the text"
    assert sizes(tokenizer, "日a").sum() == 4
    shared = sizes(tokenizer, "日").tolist()
    assert shared == [0, 3, 0, 0] or shared == [3, 0, 0] or sum(shared) == 3


def test_the_table_agrees_with_the_offsets() -> None:
    tokenizer = made.byte_level()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    table = byte_table(tokenizer)
    assert table is not None and table[298] == 0
    ids = np.array(tokenizer.encode(TEXT, add_special_tokens=False).ids)
    assert table[ids].sum() == bytes_of_tokens(tokenizer, TEXT, ids).sum() == len(TEXT.encode())


def test_there_is_no_table_where_text_is_changed_first() -> None:
    assert byte_table(made.pieces()) is None
    assert byte_table(made.digits_apart()) is None
    assert byte_table(made.pieces(lower=True)) is None


def test_ids_of_another_text_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of the text"):
        bytes_of_tokens(made.pieces(), "the", np.array([1]))


def test_byte_places() -> None:
    assert byte_places("aé日🙂").tolist() == [0, 1, 3, 6, 10]
