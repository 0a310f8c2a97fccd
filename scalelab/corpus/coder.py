"""A tokenizer with what a corpus needs of it: its separator, and bytes of the original text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scalelab.corpus import tokenizer as tok
from scalelab.corpus import tokenizers
from scalelab.corpus.documents import Document
from scalelab.corpus.token_bytes import byte_table, bytes_of_tokens
from scalelab.corpus.tokenizers.separators import separator_of
from scalelab.errors import UserError
from scalelab.files import read_json
from scalelab.plan.tokenizers import OWN, find, identity, settings_files


@dataclass(frozen=True)
class Coder:
    """Texts to ids.

    Attributes:
        tokenizer: of the library tokenizers.
        name: what the study calls it.
        separator: the token between documents, and its id.
        size: the largest id and one more.
        table: bytes of each id, shape (size,); None where the text has to be looked at.
        round_trip: whether a tokenizer that loses something is refused.
    """

    tokenizer: Tokenizer
    name: str
    separator: str
    separator_id: int
    size: int
    table: np.ndarray | None
    round_trip: bool = True

    @property
    def dtype(self) -> np.dtype:
        """uint16 or uint32."""
        return tok.token_dtype(self.size)

    def encode(
        self, texts: Iterable[str], progress: Callable[[int], None] | None = None
    ) -> Iterator[np.ndarray]:
        """Ids of each text; see `tokenizer.encode`."""
        return tok.encode(self.tokenizer, texts, progress, self.separator_id)

    def check(self, documents: Sequence[Document], ids: Sequence[np.ndarray]) -> None:
        """`UserError` where a text is not what its ids decode to, unless the study allows it."""
        if self.round_trip:
            for document, row in zip(documents, ids, strict=True):
                tok.check_round_trip(self.tokenizer, [document.text], [row], [document.name])

    def bytes_of(self, text: str, ids: np.ndarray) -> np.ndarray:
        """Bytes of a document that each of its tokens stands for, shape (tokens,)."""
        if self.table is not None:
            return self.table[ids]
        return bytes_of_tokens(self.tokenizer, text, ids)

    def described(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "kind": self.name,
            "vocab_size": self.size,
            "separator": self.separator,
            "separator_id": self.separator_id,
            "dtype": self.dtype.name,
        }


def make(
    config: dict[str, Any],
    fingerprint: dict[str, Any],
    sample: Iterable[str],
    report: Callable[[str], None],
) -> Coder:
    """The tokenizer of a corpus.

    Args:
        config: the section `corpus` with all keys.
        fingerprint: of the plan; it holds the files of a tokenizer that was made elsewhere.
        sample: training text, for a tokenizer that is trained.
        report: called with a line of progress.

    Raises:
        UserError: it cannot be found, read or trained, has no separator, or is not the one that
            was planned.
    """
    name, settings = config["tokenizer"], []
    if name not in OWN:
        planned, now = fingerprint.get("tokenizer"), identity(name)["tokenizer"]
        if planned is not None and planned != now:
            raise UserError(
                f"corpus.tokenizer: the files of {name} have changed since the plan was made; "
                "plan again"
            )
        found = find(name)
        settings = settings_files(found)
    tokenizer = tokenizers.make(config, sample, report)
    separator, index = separator_of(tokenizer, config["separator"], settings)
    return _coder(tokenizer, name, separator, index, config["round_trip"])


def load(folder: Path) -> Coder:
    """The tokenizer of a corpus that is prepared.

    Raises:
        UserError: a file is missing or damaged.
    """
    manifest = read_json(folder / "manifest.json")
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected the tokenizer of the corpus")
    told = manifest["tokenizer"]
    return _coder(
        Tokenizer.from_file(str(path)),
        told["kind"],
        told["separator"],
        told["separator_id"],
        manifest["spec"]["config"].get("round_trip", True),
    )


def _coder(tokenizer: Tokenizer, name: str, separator: str, index: int, round_trip: bool) -> Coder:
    tokenizer.encode_special_tokens = True
    table = byte_table(tokenizer)
    size = tok.size_of(tokenizer)
    return Coder(tokenizer, name, separator, index, size, table, round_trip)
