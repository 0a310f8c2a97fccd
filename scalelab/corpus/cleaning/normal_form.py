"""One Unicode normal form (Unicode Standard Annex 15)."""

import unicodedata
from typing import Any, Literal

from scalelab.corpus.cleaning import Report, Step, section, step


class NormalForm(Step):
    """NFC composes letters and marks; NFKC also replaces compatibility forms, such as ligatures."""

    def __init__(self, form: Literal["NFC", "NFKC"]) -> None:
        super().__init__()
        self._form = form

    def __call__(self, text: str) -> list[str]:
        """The text in the normal form."""
        return [text if text.isascii() else unicodedata.normalize(self._form, text)]


@step("unicode", place=30)
def normal_form(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.unicode`."""
    form = section(config).get("unicode")
    return NormalForm(form) if form else None
