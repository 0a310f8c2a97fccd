"""Text of benchmark sets kept out of the corpus.

Brown et al. 2020 ("Language models are few-shot learners", appendix C): a document that shares a
run of 13 words with a benchmark loses that run and 200 characters on either side, and is split
there; pieces under 200 characters go, and so does a document in more than 10 pieces. Unlike there
a run that stands in many documents counts too: one pass over the text cannot know it.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from scalelab.config import SourceConfig
from scalelab.corpus.cleaning import Report, Step, step
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.grams import gram_hashes, words
from scalelab.corpus.overlap import HashSet
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError

WINDOW = 200
"""Characters that go on either side of a run, and the shortest piece that stays."""
MOST_PIECES = 10


class Benchmarks(Step):
    """Cuts benchmark text out of documents, or drops the documents that hold it.

    Memory grows with the benchmarks alone: 16 bytes for each run of words in them.
    `found` counts runs of words in documents that also stand in a benchmark.
    """

    def __init__(self, texts: Iterable[Document], width: int, action: str) -> None:
        super().__init__()
        self._width, self._action = width, action
        hashes: list[np.ndarray] = []
        owners: list[np.ndarray] = []
        self._texts = self._short = 0
        for document in texts:
            found = gram_hashes(words(document.text)[0], width)
            self._short += not len(found)
            hashes.append(found)
            owners.append(np.full(len(found), self._texts, dtype=np.int64))
            self._texts += 1
        if self._texts == self._short:
            raise UserError(
                f"corpus.benchmarks: none of {self._texts:,} texts has {width} words, expected "
                "longer texts or a smaller number of words"
            )
        self._hashes, self._owners = np.concatenate(hashes), np.concatenate(owners)
        self._set = HashSet(self._hashes)
        self._seen = np.zeros(len(self._set.values), dtype=bool)

    def __call__(self, text: str) -> list[str]:
        """The text, its pieces, or nothing."""
        codes, spans = words(text)
        hashes = gram_hashes(codes, self._width)
        hit, known = self._set.places(hashes)
        if not len(hit):
            return [text]
        self.found["runs of words"] += len(hit)
        self._seen[known] = True
        if self._action == "remove":
            return []
        starts = np.maximum(spans[hit, 0] - WINDOW, 0)
        ends = spans[hit + self._width - 1, 1] + WINDOW
        pieces: list[str] = []
        place = 0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if start > place:
                pieces.append(text[place:start])
            place = max(place, end)
        if place < len(text):
            pieces.append(text[place:])
        if len(pieces) > MOST_PIECES:
            return []
        return [piece for piece in pieces if len(piece) >= WINDOW]

    def state(self) -> list[int]:
        """Which runs of words were seen, by their place in the sorted hashes."""
        return np.flatnonzero(self._seen).tolist()

    def put_back(self, state: list[int]) -> None:
        """Take over what `state` gave."""
        self._seen[state] = True

    def facts(self) -> dict[str, Any]:
        """How many texts the benchmarks have, and how many of them stood in the corpus's text."""
        seen = self._set.values[self._seen]
        touched = len(np.unique(self._owners[np.isin(self._hashes, seen)]))
        long = self._texts - self._short
        return {
            "words": self._width,
            "action": self._action,
            "texts": self._texts,
            "texts_too_short": self._short,
            "texts_touched": touched,
            "share_of_texts_touched": touched / long,
        }


@step("benchmarks", place=50)
def benchmarks(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.benchmarks`."""
    given = config.get("benchmarks")
    if not given:
        return None
    files = asdict(SourceConfig(source="files", text_field=given["text_field"]))
    files |= {"paths": list(given["paths"])}
    read = Tally()
    texts = get_source("files")(files, {"files": fingerprint["benchmarks"]}, read, report)
    made = Benchmarks(texts, given["words"], given["action"])
    report(f"corpus: {made.facts()['texts']:,} benchmark texts read")
    return made
