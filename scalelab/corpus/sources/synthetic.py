"""Text made here, whose entropy and scaling exponent are known: facts with Zipf frequencies.

A document is a run of facts such as `aa;ab[aa;ca%`: two letters of a key, one token together, and
the key's value. What theory says of it stands in `scalelab.corpus.facts`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.facts import (
    VALUES,
    key_words,
    known,
    probabilities,
    uniform,
    values_of,
)
from scalelab.corpus.sources import Report, source
from scalelab.plan.synthetic import DOCUMENT_TOKENS, FACTS, NAME
from scalelab.seeds import stream

REPORT_EVERY = 1000


def spelling(config: dict[str, Any]) -> list[str]:
    """A text on which BPE becomes the tokenizer of the facts: one token a key, whatever is rare."""
    words = key_words(config["synthetic"]["keys"])
    return [VALUES[0].join(words + words)]


@source(
    NAME,
    truth=lambda config, *rest: known(config["synthetic"], *rest),
    spelling=spelling,
)
def synthetic(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Documents of 2,047 facts each until they hold `synthetic.tokens`, separators included.

    Each document has a stream of its own. The draws are PCG64's raw output, which NumPy keeps from
    version to version, and not those of a method of its generators, which it does not.
    """
    settings = config["synthetic"]
    seed = settings["seed"]
    own = values_of(settings["keys"], seed)
    ends = np.cumsum(probabilities(settings["keys"], settings["zipf"]))
    words = _codes("".join(key_words(settings["keys"]))).reshape(-1, 2)
    marks = _codes(VALUES)
    count = -(-settings["tokens"] // DOCUMENT_TOKENS)
    for number in range(count):
        draw = uniform(stream(seed, f"synthetic document {number}"), 3 * FACTS).reshape(3, FACTS)
        keys = np.minimum(np.searchsorted(ends, draw[0], side="right"), len(ends) - 1)
        fresh = (draw[2] * len(VALUES)).astype(np.int64)
        values = np.where(draw[1] < settings["noise"], fresh, own[keys])
        text = np.column_stack([words[keys], marks[values]]).tobytes().decode("ascii")
        tally.add("read", len(text))
        if number % REPORT_EVERY == REPORT_EVERY - 1:
            report(f"corpus: {number + 1:,} of {count:,} documents made")
        yield Document(f"synthetic/{number:06d}", text)


def _codes(letters: str) -> np.ndarray:
    """ASCII codes, uint8, shape (letters,)."""
    return np.frombuffer(letters.encode("ascii"), dtype=np.uint8)
