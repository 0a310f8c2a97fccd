"""Canaries: random secrets that are planted in the training text, to see what models keep of them.

Secret sharer: Carlini et al. 2019 (arXiv:1802.08232, sections 3 and 4). A canary is a document of
its own, with a made-up name and a secret that is drawn evenly from all numbers of some digits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus.cleaning import Report, steps
from scalelab.corpus.coder import Coder
from scalelab.corpus.documents import utf8_size
from scalelab.corpus.facts import uniform
from scalelab.corpus.rows import Rows
from scalelab.errors import UserError
from scalelab.seeds import stream

FORMS = {
    "code": ("The code of {name} is ", ""),
    "email": ("The address of {name} is {name}", "@example.org"),
}
"""What stands before and after the secret."""
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
LENGTH = 3
"""Syllables of a name."""
MOST_SHARE = 0.05
"""Of the training split: with more, it would be another text."""


@dataclass(frozen=True)
class Canary:
    """A secret and how often it is planted: 0 times as the control."""

    before: str
    secret: str
    after: str
    repeats: int

    @property
    def text(self) -> str:
        """The document, before anything in it is masked."""
        return self.before + self.secret + self.after


@dataclass(frozen=True)
class Planted:
    """A training split with canaries in it.

    Attributes:
        stream: its ids, shape (tokens,), a separator first and after each document.
        facts: what the manifest says of them: documents, bytes and tokens that were planted, their
            share of the split, the space of secrets, and each canary.
    """

    stream: np.ndarray
    facts: dict[str, Any]


def draw(settings: dict[str, Any], seed: int) -> list[Canary]:
    """The canaries of a section `corpus.canaries`: the controls first, then by repetition."""
    repeats = [times for times in (0, *settings["repeats"]) for _ in range(settings["count"])]
    before, after = FORMS[settings["form"]]
    draws = uniform(stream(seed, "canary secrets"), len(repeats)) * 10 ** settings["digits"]
    secrets = [f"{int(number):0{settings['digits']}d}" for number in draws]
    return [
        Canary(before.format(name=name), secret, after, times)
        for name, secret, times in zip(_names(len(repeats), seed), secrets, repeats, strict=True)
    ]


def _names(count: int, seed: int) -> list[str]:
    """Distinct words of three syllables."""
    kinds = len(SYLLABLES) ** LENGTH
    # The most that a study may ask for, a twentieth of the words, is among twice as many draws.
    numbers = (uniform(stream(seed, "canary names"), 2 * count + 8) * kinds).astype(np.int64)
    distinct = list(dict.fromkeys(numbers.tolist()))[:count]
    return ["".join(_syllables(number)) for number in distinct]


def _syllables(number: int) -> list[str]:
    found = []
    for _ in range(LENGTH):
        number, place = divmod(number, len(SYLLABLES))
        found.append(SYLLABLES[place])
    return found


def plant(
    spec: dict[str, Any], coder: Coder, rows: Rows, zone: int, path: Path, report: Report
) -> Planted | None:
    """The training split with each canary at as many random ends of documents as it has repeats.

    It is what a secret in the text would have met: masked where `corpus.cleaning.mask` finds it.
    Short documents and duplicates are removed before, and do not concern it.

    Args:
        spec: of the corpus.
        rows: ids of all documents; those from `zone` on are trained on.
        path: file for the stream.

    Returns:
        The split, or None where the study plants nothing.

    Raises:
        UserError: canaries are more than a twentieth of the split.
    """
    config, seed = spec["config"], spec["seed"]
    settings = config.get("canaries")
    if not settings:
        return None
    canaries = draw(settings, seed)
    mask = steps()["mask"](config, spec["fingerprint"], report)
    texts = [mask(one.text)[0] if mask else one.text for one in canaries]
    ids = list(coder.encode(texts))
    tokens = sum(one.repeats * (len(row) + 1) for one, row in zip(canaries, ids, strict=True))
    train = rows.after(zone)
    share = tokens / (len(train) + tokens)
    if share > MOST_SHARE:
        raise UserError(
            f"corpus.canaries: found {tokens:,} tokens to plant, {share:.1%} of the training split "
            f"with them, expected at most {MOST_SHARE:.0%}: plant fewer or give the corpus more "
            "text"
        )
    ends = rows.starts[zone:] - (rows.starts[zone] - 1)
    places = _insert(train, ends, ids, [one.repeats for one in canaries], seed, coder, path)
    documents = sum(one.repeats for one in canaries)
    report(f"corpus: {documents:,} canaries planted, {share:.2%} of the training split")
    listed = zip(canaries, texts, ids, places, strict=True)
    facts = {
        "space": 10 ** settings["digits"],
        "documents": documents,
        "bytes": sum(
            one.repeats * utf8_size(text) for one, text in zip(canaries, texts, strict=True)
        ),
        "tokens": tokens,
        "share": share,
        "canaries": [
            {**asdict(one), "planted": text, "tokens": len(row), "places": found}
            for one, text, row, found in listed
        ],
    }
    return Planted(np.memmap(path, dtype=coder.dtype, mode="r"), facts)


def _insert(
    train: np.ndarray,
    ends: np.ndarray,
    ids: Sequence[np.ndarray],
    repeats: Sequence[int],
    seed: int,
    coder: Coder,
    path: Path,
) -> list[list[int]]:
    """Write `train` with each row of `ids` as often as `repeats` says, before documents that are
    drawn evenly or at the end (`ends`, token offsets). Gives the places of each row's copies."""
    which = np.repeat(np.arange(len(ids)), repeats)
    draws = uniform(stream(seed, "canary places"), len(which)) * len(ends)
    at = ends[draws.astype(np.int64)]
    order = np.argsort(at, kind="stable")
    separator = np.array([coder.separator_id], coder.dtype)
    places: list[list[int]] = [[] for _ in ids]
    done = written = 0
    with open(path, "wb") as out:
        for end, number in zip(at[order].tolist(), which[order].tolist(), strict=True):
            train[done:end].tofile(out)
            written += end - done
            done = end
            places[number].append(written)
            row = np.concatenate([ids[number], separator]).astype(coder.dtype)
            row.tofile(out)
            written += len(row)
        train[done:].tofile(out)
    return places
