from pathlib import Path

import numpy as np
import pytest

from scalelab.corpus.shards import read_tokens, write_tokens
from scalelab.errors import UserError


@pytest.mark.parametrize(("vocab", "itemsize"), [(65_536, 2), (65_537, 4), (120_000, 4)])
def test_ids_come_back(tmp_path: Path, vocab: int, itemsize: int) -> None:
    """Case T12."""
    ids = np.array([0, 65_535, vocab - 1])
    write_tokens(tmp_path / "x.bin", ids, vocab)
    found = read_tokens(tmp_path / "x.bin", vocab)
    assert found.tolist() == ids.tolist()
    assert found.dtype.itemsize == itemsize
    assert isinstance(found, np.memmap) and not found.flags.writeable
    assert (tmp_path / "x.bin").read_bytes() == ids.astype(f"<u{itemsize}").tobytes()


@pytest.mark.parametrize("wrong", [65_536, 70_000, 119_546, -1])
def test_ids_that_would_wrap_are_refused(tmp_path: Path, wrong: int) -> None:
    """Case T12."""
    with pytest.raises(UserError, match=rf"token id {wrong:,}, expected 0 to 65,535"):
        write_tokens(tmp_path / "x.bin", np.array([1, wrong]), 65_536)
    assert not list(tmp_path.iterdir())


def test_ids_above_the_vocabulary_are_refused_on_reading(tmp_path: Path) -> None:
    """Case T12."""
    write_tokens(tmp_path / "x.bin", np.array([1, 511]), 512)
    with pytest.raises(UserError, match="token id 511, expected 0 to 256"):
        read_tokens(tmp_path / "x.bin", 257)


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "no such file"), (b"", "0 bytes"), (b"abc", "3 bytes, expected a positive multiple")],
)
def test_broken_files(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_tokens(tmp_path / "x.bin", 512)
