"""Documents on disk while a corpus is made: their text in one file, an index by hash in SQLite.

The size of the text is bounded by the disk, not by memory, and what was read before an interruption
is not read again.
"""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, overload

import numpy as np

from scalelab.corpus.documents import Document

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    key BLOB PRIMARY KEY, name TEXT, part INTEGER, start INTEGER, size INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


SYSTEM = {"SQLITE_FULL": errno.ENOSPC, "SQLITE_READONLY": errno.EROFS}
"""What SQLite says of the disk, as the system says it."""


@contextmanager
def errors_of_system(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite that are those of the disk into errors of the system."""
    try:
        yield
    except sqlite3.OperationalError as error:
        number = SYSTEM.get(getattr(error, "sqlite_errorname", ""))
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(folder)) from None


class Entry(NamedTuple):
    """A document in the store: its key, the part of a mixture it is from, its bytes in the file."""

    key: bytes
    part: int
    start: int
    size: int


class Store:
    """A folder with documents, each text once.

    `identity` says what the documents are of: a folder of another identity is emptied. Changes
    count from the next `commit` on; after an interruption the store is as at the last one.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        try:
            self._open()
            whole = self.state("identity") == identity and self._size() >= self.state("end")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") in SYSTEM:
                self.close()
                raise  # what was read stays
            whole = False
        if not whole:
            self.close()
            shutil.rmtree(folder)
            self._open()
            self._set("identity", identity)
            self._set("end", 0)
            self._index.commit()
        self._end = int(self.state("end"))
        self._text.truncate(self._end)
        self._text.seek(self._end)

    def _size(self) -> int:
        return (self.folder / "documents.txt").stat().st_size

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._text = open(self.folder / "documents.txt", "a+b")  # noqa: SIM115
        self._index = sqlite3.connect(self.folder / "documents.db")
        self._index.execute("PRAGMA synchronous = OFF")  # a broken store is made anew
        self._index.executescript(_TABLES)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; what is not committed is lost."""
        self._index.close()
        self._text.close()

    def __len__(self) -> int:
        return int(self._index.execute("SELECT count(*) FROM documents").fetchone()[0])

    def add(self, key: bytes, document: Document) -> bool:
        """Add a document; False where its key is there already.

        Of two equal texts the name that sorts first stays, with its part, so that it does not
        depend on the order of reading.
        """
        data = document.text.encode("utf-8")
        row = (key, document.name, document.part, self._end, len(data))
        if self._index.execute(
            "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?)", row
        ).rowcount:
            self._text.write(data)
            self._end += len(data)
            return True
        self._index.execute(
            "UPDATE documents SET name = ?, part = ? WHERE key = ? AND name > ?",
            (document.name, document.part, key, document.name),
        )
        return False

    def commit(self, **state: Any) -> None:
        """Make what was added last, with values (JSON) that say how far reading has come."""
        self._text.flush()
        for name, value in {**state, "end": self._end}.items():
            self._set(name, value)
        self._index.commit()

    def state(self, name: str, default: Any = None) -> Any:
        """A value of the last commit."""
        row = self._index.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def _set(self, name: str, value: Any) -> None:
        self._index.execute("REPLACE INTO state VALUES (?, ?)", (name, json.dumps(value)))

    def ordered(self) -> Iterator[Entry]:
        """All documents in the order of their keys."""
        self._text.flush()
        for row in self._index.execute("SELECT key, part, start, size FROM documents ORDER BY key"):
            yield Entry(*row)

    def text(self, start: int, size: int) -> str:
        """The text of an entry."""
        self._text.seek(start)
        return self._text.read(size).decode("utf-8")

    def document(self, entry: Entry) -> Document:
        """A document with its name."""
        row = self._index.execute("SELECT name FROM documents WHERE key = ?", (entry.key,))
        return Document(row.fetchone()[0], self.text(entry.start, entry.size), entry.part)


class Kept(Sequence[Document]):
    """Some documents of a store, in order; each is read when it is asked for."""

    def __init__(self, store: Store, entries: np.ndarray) -> None:
        """`entries`: a record array of `ENTRY`, in order."""
        self._store = store
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> "Kept": ...
    def __getitem__(self, index: int | slice) -> "Document | Kept":
        if isinstance(index, slice):
            return Kept(self._store, self.entries[index])
        row = self.entries[index]
        return self._store.document(
            Entry(row["key"].tobytes(), int(row["part"]), int(row["start"]), int(row["size"]))
        )

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each text, int64."""
        return self.entries["size"]

    def texts(self) -> Iterator[str]:
        """The texts alone, which needs no look into the index."""
        for start, size in zip(
            self.entries["start"].tolist(), self.entries["size"].tolist(), strict=True
        ):
            yield self._store.text(start, size)


ENTRY = np.dtype([("key", "V16"), ("part", "<i4"), ("start", "<i8"), ("size", "<i8")])
"""An `Entry` as a record of 36 bytes."""


class Records:
    """Entries gathered as an array of `ENTRY`, without an object for each."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._last: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self._last.append(entry)
        if len(self._last) == 65_536:
            self._pack()

    def array(self) -> np.ndarray:
        """All entries."""
        self._pack()
        return np.concatenate(self._parts)

    def _pack(self) -> None:
        block = np.empty(len(self._last), ENTRY)
        for place, entry in enumerate(self._last):
            block[place] = (np.void(entry.key), entry.part, entry.start, entry.size)
        self._parts.append(block)
        self._last = []
