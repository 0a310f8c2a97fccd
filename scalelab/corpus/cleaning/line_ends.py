"""One kind of line end."""

from typing import Any

from scalelab.corpus.cleaning import Report, Step, section, step


class LineEnds(Step):
    """CRLF and CR become LF. Other characters that end a line for Unicode are left alone."""

    def __call__(self, text: str) -> list[str]:
        """The text without carriage returns."""
        return [text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text]


@step("line_ends", place=20)
def line_ends(config: dict[str, Any], fingerprint: dict[str, Any], report: Report) -> Step | None:
    """`corpus.cleaning.line_ends`."""
    return LineEnds() if section(config).get("line_ends") else None
