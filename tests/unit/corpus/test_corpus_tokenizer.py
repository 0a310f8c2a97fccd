from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from scalelab.corpus import tokenizer as tok
from scalelab.corpus.token_bytes import byte_table
from scalelab.errors import UserError

ODD = bytes.fromhex("61 E280A8 62 0D0A 63 0C 64 0D 65 0A0A0A 20 66 20 0A EFBBBF 67").decode()
TEXTS = [
    ODD,
    "",
    "a\nb\n\nc\n",
    "naïve 日本語 🙂\0\x7f\x80",
    "a<|endoftext|>b",
    "\t\tif x:\n    y\r\n" * 3,
]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return tok.train_bpe(["the cat sat on the mat, the other cat did not sit\n" * 20], 270)


@pytest.fixture(params=["bpe", "bytes"])
def tokenizer(request: pytest.FixtureRequest, bpe: Tokenizer) -> Tokenizer:
    return bpe if request.param == "bpe" else tok.byte_tokenizer()


def test_any_text_comes_back_byte_for_byte(tokenizer: Tokenizer) -> None:
    """Case T17."""
    ids = list(tok.encode(tokenizer, TEXTS))
    tok.check_round_trip(tokenizer, TEXTS, ids)
    assert tokenizer.decode(ids[0].tolist(), skip_special_tokens=False).encode() == ODD.encode()
    with pytest.raises(UserError, match="does not give back"):
        tok.check_round_trip(tokenizer, TEXTS, [ids[1], *ids[1:]])


def test_separator_is_id_0_and_no_text_reaches_it(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    assert all((row != 0).all() for row in tok.encode(tokenizer, TEXTS))


def test_token_lengths_add_up_to_the_bytes(tokenizer: Tokenizer) -> None:
    lengths = byte_table(tokenizer)
    assert lengths is not None and lengths[0] == 0
    for text, ids in zip(TEXTS, tok.encode(tokenizer, TEXTS), strict=True):
        assert lengths[ids].sum() == len(text.encode())


def test_transformers_opens_the_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tok.save(tokenizer, tmp_path / "tokenizer.json")
    opened = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), eos_token="<|endoftext|>"
    )
    assert len(opened) == tokenizer.get_vocab_size()
    assert opened.eos_token_id == 0
    text = TEXTS[-1] + ODD
    (expected,) = tok.encode(tokenizer, [text])
    assert opened(text)["input_ids"] == expected.tolist()
    assert opened.decode(expected.tolist(), clean_up_tokenization_spaces=False) == text


def test_bytes_have_the_id_of_the_byte_plus_one() -> None:
    tokenizer = tok.byte_tokenizer()
    assert tokenizer.get_vocab_size() == 257
    text = "".join(map(chr, range(256))) + "日本"
    (fast,) = tok.encode(tokenizer, [text])
    assert fast.tolist() == [b + 1 for b in text.encode()]
    assert tokenizer.encode(text).ids == fast.tolist()


def test_batches_keep_the_order(
    bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch, prose: Callable[..., str]
) -> None:
    texts = [prose(i, words=5 + i) for i in range(20)]
    whole = list(tok.encode(bpe, texts))
    monkeypatch.setattr(tok, "_BATCH_CHARACTERS", 100)
    seen: list[int] = []
    parts = list(tok.encode(bpe, texts, seen.append))
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert seen == sorted(seen) and seen[-1] == 20 and len(seen) > 5


def test_too_little_text_for_the_vocabulary() -> None:
    with pytest.raises(UserError, match=r"yields only 2\d\d tokens, expected 512"):
        tok.train_bpe(["abc abc"], 512)


def test_dtype_by_vocabulary() -> None:
    assert tok.token_dtype(65_536) == np.uint16
    assert tok.token_dtype(65_537) == np.uint32
