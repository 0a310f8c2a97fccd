"""Token files: flat little-endian arrays, opened memory-mapped, with every id checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus.dtype import token_dtype
from scalelab.errors import UserError
from scalelab.files import atomic_path, read_json
from scalelab.sums import check as check_sums

SPLITS = ("train", "tuning", "test")
HELD_OUT = ("tuning", "test")


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus, read without loading the tokens.

    Attributes:
        manifest: what `prepare` returned.
        tokens: memory-mapped ids by split (`train`, `tuning`, `test`), shape (tokens,).
        pieces: for `tuning` and `test`, int64 of shape (pieces, 4): start, end, document, bytes.
            Offsets are in the split's ids, the separators left out; pieces with one number in
            `document` come from one document (the clusters of a standard error).
        dtype: uint16 or uint32.
        vocab_size: ids are below this.
        separator: id of the token between documents, such as `<|endoftext|>`.
    """

    manifest: dict[str, Any]
    tokens: dict[str, np.ndarray]
    pieces: dict[str, np.ndarray]
    dtype: np.dtype
    vocab_size: int
    separator: int

    def bytes(self, split: str) -> int:
        """UTF-8 bytes of a split's text, for bits per byte (a separator has none)."""
        return int(self.manifest["splits"][split]["bytes"])


def write_tokens(path: Path, ids: np.ndarray, vocab_size: int) -> None:
    """Write ids as uint16 (vocabularies up to 65,536) or uint32, little endian, atomically.

    Raises:
        UserError: an id is negative or not below `vocab_size`.
    """
    if len(ids):
        _check(path, int(ids.min()), int(ids.max()), vocab_size)
    with atomic_path(path) as temporary:
        np.ascontiguousarray(ids, dtype=token_dtype(vocab_size)).tofile(temporary)


def read_tokens(path: Path, vocab_size: int) -> np.ndarray:
    """Memory-mapped ids of a file that `write_tokens` wrote, shape (tokens,), read only.

    Raises:
        UserError: the file is missing, empty, of a wrong size, or holds an id that is not below
            `vocab_size`.
    """
    dtype = token_dtype(vocab_size)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected the tokens of a split") from None
    if not size or size % dtype.itemsize:
        raise UserError(
            f"{path}: {size:,} bytes, expected a positive multiple of {dtype.itemsize} ({dtype})"
        )
    ids = np.memmap(path, dtype=dtype, mode="r")
    _check(path, 0, int(ids.max()), vocab_size)
    return ids


def load(folder: Path) -> Corpus:
    """Open a corpus that `prepare` wrote.

    Raises:
        UserError: a file is missing or does not hold what the manifest says.
    """
    folder = Path(folder)
    manifest = read_json(folder / "manifest.json")
    vocab_size = int(manifest["tokenizer"]["vocab_size"])
    tokens, pieces = {}, {}
    for split in SPLITS:
        tokens[split] = read_tokens(folder / f"{split}.bin", vocab_size)
        expected = manifest["splits"][split]["tokens"]
        if len(tokens[split]) != expected:
            raise UserError(
                f"{folder / split}.bin: {len(tokens[split]):,} tokens, expected {expected:,}"
            )
    for split in HELD_OUT:
        rows = read_json(folder / f"{split}.docs.json")["pieces"]
        pieces[split] = np.array(rows, dtype=np.int64).reshape(-1, 4)
    _check_sums(folder)
    separator = int(manifest["tokenizer"]["separator_id"])
    return Corpus(manifest, tokens, pieces, token_dtype(vocab_size), vocab_size, separator)


def _check_sums(folder: Path) -> None:
    check_sums(
        folder / "manifest.json", f"delete {folder}, and the workflow makes it anew from its text"
    )


@dataclass(frozen=True)
class EvaluationSet:
    """A set that `sets.prepare_set` wrote beside a corpus.

    Attributes:
        name: its name in the study.
        tokens: memory-mapped ids, shape (tokens,), a separator first.
        pieces: int64 of shape (pieces, 4), as those of a corpus's held-out splits.
        bytes: UTF-8 bytes of its text.
        sha256: of its token file.
    """

    name: str
    tokens: np.ndarray
    pieces: np.ndarray
    bytes: int
    sha256: str


def load_set(folder: Path, vocab_size: int) -> EvaluationSet:
    """Open an evaluation set.

    Raises:
        UserError: a file is missing or does not hold what the manifest says.
    """
    manifest = read_json(folder / "manifest.json")
    tokens = read_tokens(folder / "tokens.bin", vocab_size)
    expected = manifest["split"]["tokens"]
    if len(tokens) != expected:
        raise UserError(f"{folder / 'tokens.bin'}: {len(tokens):,} tokens, expected {expected:,}")
    rows = read_json(folder / "docs.json")["pieces"]
    _check_sums(folder)
    return EvaluationSet(
        manifest["name"],
        tokens,
        np.array(rows, dtype=np.int64).reshape(-1, 4),
        int(manifest["split"]["bytes"]),
        manifest["files"]["tokens.bin"],
    )


def _check(path: Path, lowest: int, highest: int, vocab_size: int) -> None:
    if lowest < 0 or highest >= vocab_size:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"{path}: token id {wrong:,}, expected 0 to {vocab_size - 1:,}")
