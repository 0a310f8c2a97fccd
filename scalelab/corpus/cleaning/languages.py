"""Documents of the languages that are asked for."""

from typing import Any

from scalelab.corpus.cleaning import Report, Step, section, step
from scalelab.corpus.language import Languages
from scalelab.errors import UserError


class Keep(Step):
    """Drops documents of other languages, and those whose language is not determined.

    `found` counts documents by language; those below the confidence count as `undetermined`.
    """

    def __init__(self, wanted: list[str], confidence: float) -> None:
        super().__init__()
        self._languages = Languages()
        unknown = sorted(set(wanted) - set(known := self._languages.known()))
        if unknown:
            raise UserError(
                f"corpus.cleaning.languages: {unknown[0]!r} is unknown, expected codes such as en "
                f"out of: {', '.join(known)}"
            )
        self._wanted = frozenset(wanted)
        self._confidence = confidence

    def __call__(self, text: str) -> list[str]:
        """The text, or nothing."""
        code, probability = self._languages.identify(text)
        if probability < self._confidence:
            code = "undetermined"
        self.found[code] += 1
        return [text] if code in self._wanted else []


@step("languages", place=40)
def languages(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.languages`."""
    given = section(config)
    if not given.get("languages"):
        return None
    return Keep(list(given["languages"]), given["language_confidence"])
