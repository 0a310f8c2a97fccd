"""Token ids of all documents as one stream on disk, and each document's place in it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from scalelab.corpus.tokenizer import SEPARATOR_ID


class Rows(Sequence[np.ndarray]):
    """The ids of each document, in order.

    Attributes:
        stream: a separator, then each document with a separator after it, shape (tokens,).
        starts: where each document starts in it, and where one more would, int64.
    """

    def __init__(self, stream: np.ndarray, lengths: np.ndarray) -> None:
        self.stream = stream
        self.starts = np.concatenate([[1], 1 + np.cumsum(np.asarray(lengths, np.int64) + 1)])

    @classmethod
    def write(cls, path: Path, rows: Iterable[np.ndarray], dtype: np.dtype) -> "Rows":
        """Write rows to a file and open it memory-mapped."""
        lengths: list[int] = []
        separator = np.array([SEPARATOR_ID], dtype).tobytes()
        with open(path, "wb") as out:
            out.write(separator)
            for row in rows:
                lengths.append(len(row))
                out.write(row.astype(dtype, copy=False).tobytes())
                out.write(separator)
        return cls(np.memmap(path, dtype=dtype, mode="r"), np.array(lengths, np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.stream[self.starts[index] : self.starts[index + 1] - 1]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64."""
        return np.diff(self.starts) - 1

    def after(self, count: int) -> np.ndarray:
        """The stream of all documents but the first `count`, with a separator before it."""
        return self.stream[self.starts[count] - 1 :]
