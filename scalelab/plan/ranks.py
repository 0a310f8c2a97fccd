"""Encodings of tiktoken: the library's by name, or a file of ranks. The library is optional."""

import base64
import binascii
import difflib
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from scalelab.errors import UserError
from scalelab.files import digest

PREFIX = "tiktoken:"
SUFFIX = ".tiktoken"
"""Of a file of ranks: a line a token, its bytes in base 64 and its rank."""
SEPARATOR = "<|endoftext|>"
NAMED = ("gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base")
"""Names whose pattern only the library knows."""


@dataclass(frozen=True)
class Encoding:
    """What an encoding is made of.

    Attributes:
        ranks: id of each token, by its bytes.
        pattern: what text is cut by before merges; None for that of cl100k_base.
        special: id of each special token.
    """

    ranks: dict[bytes, int]
    pattern: str | None
    special: dict[str, int]

    @property
    def size(self) -> int:
        """The largest id and one more."""
        return max(*self.ranks.values(), *self.special.values()) + 1

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        ranks = sorted((rank, token.hex()) for token, rank in self.ranks.items())
        return digest([ranks, self.pattern, sorted(self.special.items())], 64)


def named(name: str) -> Encoding:
    """The encoding that `tiktoken:NAME` means.

    Raises:
        UserError: the library is missing, has no such encoding, or its ranks are neither in
            TIKTOKEN_CACHE_DIR nor can be fetched.
    """
    short = name.removeprefix(PREFIX)
    library = _library(name)
    known = library.list_encoding_names()
    if short not in known:
        near = difflib.get_close_matches(short, known, n=1)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        raise UserError(
            f"corpus.tokenizer: {name}: tiktoken knows {', '.join(known)} (a file of ranks ends in "
            f"{SUFFIX}){hint}"
        )
    try:
        with _network():
            found = library.get_encoding(short)
    except Exception as error:  # of requests, of the file system, of tiktoken's own checks
        cache = os.environ.get("TIKTOKEN_CACHE_DIR") or "which is not set"
        raise UserError(
            f"corpus.tokenizer: {name}: its ranks are not in TIKTOKEN_CACHE_DIR ({cache}) and "
            f"cannot be fetched ({_short(error)})"
        ) from None
    return Encoding(found._mergeable_ranks, found._pat_str, found._special_tokens)


def of_file(path: Path) -> Encoding:
    """The encoding in a file of ranks.

    A file that is called as one of tiktoken's encodings has its pattern and special tokens; any
    other has the pattern of cl100k_base and <|endoftext|> as the id after the last one.

    Raises:
        UserError: a line is not a token and its rank, a byte has no rank, or the library that
            knows the pattern is missing.
    """
    stat = path.stat()
    return _of_file(path, (stat.st_size, stat.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _of_file(path: Path, stamp: tuple[int, int]) -> Encoding:
    ranks = _ranks(path)
    if path.stem in NAMED:
        _library(str(path))
        made = _constructor(path.stem, ranks)()
        return Encoding(ranks, made["pat_str"], made["special_tokens"])
    return Encoding(ranks, None, {SEPARATOR: max(ranks.values()) + 1})


def _constructor(name: str, ranks: dict[bytes, int]) -> Callable[[], dict[str, Any]]:
    """tiktoken's description of an encoding, with these ranks in the place of a download."""
    from tiktoken_ext import openai_public as public

    def described() -> dict[str, Any]:
        with (
            mock.patch.object(public, "load_tiktoken_bpe", lambda *_, **__: ranks),
            mock.patch.object(public, "data_gym_to_mergeable_bpe_ranks", lambda **_: ranks),
        ):
            return dict(public.ENCODING_CONSTRUCTORS[name]())

    return described


def _ranks(path: Path) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            found[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise UserError(
                f"{path}, line {number}: found {line[:40].decode(errors='replace')!r}, expected a "
                "token in base 64 and its rank"
            ) from None
    missing = next((byte for byte in range(256) if bytes([byte]) not in found), None)
    if missing is not None:
        raise UserError(f"{path}: no rank for the byte {missing}, expected all 256 bytes")
    return found


def _library(name: str) -> Any:
    try:
        import tiktoken
    except ImportError:
        raise UserError(
            f"corpus.tokenizer: {name} needs the library tiktoken; `pip install tiktoken`"
        ) from None
    return tiktoken


def offline() -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


@contextmanager
def _network() -> Iterator[None]:
    """tiktoken has no switch for offline use: its downloads fail here where the hub's are off."""
    from tiktoken import load

    def refuse(path: str) -> bytes:
        raise OSError(f"HF_HUB_OFFLINE forbids to fetch {path}")

    with mock.patch.object(load, "read_file", refuse if offline() else load.read_file):
        yield


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
