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
            free = [span for span in sorted(set(find(text))) if not _overlaps(span, taken)]
            end = -1
            for start, stop in free:
                if start >= end:
                    taken.append((start, stop, kind))
                    end = stop
        if not taken:
            return [text]
        parts, place = [], 0
        for start, stop, kind in sorted(taken):
            parts += [text[place:start], TOKENS[kind]]
            place = stop
            self.found[kind] += 1
        return ["".join([*parts, text[place:]])]


def _overlaps(span: tuple[int, int], taken: list[tuple[int, int, str]]) -> bool:
    return any(start < span[1] and span[0] < stop for start, stop, _ in taken)


@step("mask", place=60)
def mask(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.mask`."""
    given = section(config)
    kinds = tuple(given.get("mask") or ())
    return Mask(kinds, tuple(given["phone_regions"])) if kinds else None
