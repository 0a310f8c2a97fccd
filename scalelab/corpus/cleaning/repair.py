"""Text that was decoded with a wrong encoding, put right (mojibake)."""

from typing import Any

from scalelab.corpus.cleaning import Report, Step, section, step
from scalelab.plan.cleaning import installed


class Repair(Step):
    """ftfy's repair of encodings alone: quotes, ligatures, widths, HTML and line ends stay."""

    def __init__(self) -> None:
        super().__init__()
        installed("repair")
        import ftfy

        self._fix = ftfy.fix_text
        self._settings = ftfy.TextFixerConfig(
            unescape_html=False,
            remove_terminal_escapes=False,
            fix_latin_ligatures=False,
            fix_character_width=False,
            uncurl_quotes=False,
            fix_line_breaks=False,
            remove_control_chars=False,
            normalization=None,
            explain=False,
        )

    def __call__(self, text: str) -> list[str]:
        """The text as it was before the wrong decoding, where that is beyond doubt."""
        return [text if text.isascii() else self._fix(text, self._settings)]


@step("repair", place=10)
def repair(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.repair`."""
    return Repair() if section(config).get("repair") else None
