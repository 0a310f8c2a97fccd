"""Personal data and secrets replaced by readable tokens."""

from collections.abc import Callable
from typing import Any

from scalelab.corpus import personal
from scalelab.corpus.cleaning import Report, Step, section, step

TOKENS = {
    "key": "[KEY]",
    "email": "[EMAIL]",
    "card": "[CARD]",
    "address": "[IP]",
    "phone": "[PHONE]",
}
"""What stands for each kind, in the order in which they are looked for."""


class Mask(Step):
    """Replaces what is found; `found` counts replacements by kind."""

    def __init__(self, kinds: tuple[str, ...], regions: tuple[str, ...]) -> None:
        super().__init__()
        finders: dict[str, Callable[[], personal.Finder]] = {
            "key": personal.keys,
            "email": lambda: personal.emails,
            "card": lambda: personal.cards,
            "address": lambda: personal.addresses,
            "phone": lambda: personal.phones(regions),
        }
        self._finders = {kind: finders[kind]() for kind in TOKENS if kind in kinds}

    def __call__(self, text: str) -> list[str]:
        """The text with its tokens. Of two overlapping finds the first kind in order stays."""
        taken: list[tuple[int, int, str]] = []
        for kind, find in self._finders.items():
            spans = sorted((start, stop, kind) for start, stop in set(find(text)))
            taken = _merged(taken, spans) if spans else taken
        if not taken:
            return [text]
        parts: list[str] = []
        place = 0
        for start, stop, kind in taken:
            parts += [text[place:start], TOKENS[kind]]
            place = stop
            self.found[kind] += 1
        return ["".join([*parts, text[place:]])]


def _merged(
    first: list[tuple[int, int, str]], more: list[tuple[int, int, str]]
) -> list[tuple[int, int, str]]:
    """`first` and what of `more` overlaps neither it nor what came before; both sorted."""
    kept = list(first)
    place = end = 0
    for span in more:
        while place < len(first) and first[place][1] <= span[0]:
            place += 1
        free = place == len(first) or span[1] <= first[place][0]
        if free and span[0] >= end:
            kept.append(span)
            end = span[1]
    return sorted(kept)


@step("mask", place=60)
def mask(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.mask`."""
    given = section(config)
    kinds = tuple(given.get("mask") or ())
    return Mask(kinds, tuple(given["phone_regions"])) if kinds else None
