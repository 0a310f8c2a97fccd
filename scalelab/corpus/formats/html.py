"""HTML files: the text that a reader sees, without tags, scripts and styles."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, BinaryIO

from scalelab.corpus.formats import MAX_DOCUMENT, Row, reader, too_long
from scalelab.corpus.formats.plain import decoded

HIDDEN = frozenset(
    ("script", "style", "template", "noscript", "head", "title", "svg", "math", "iframe")
)
BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "dd", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("header", "hr", "li", "main", "nav", "ol", "option", "p", "pre", "section", "table"),
        *("tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    )
)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_LINES = re.compile(r" ?\n[ \n]*")


@reader(".html", ".htm")
def html(name: str, stream: BinaryIO, config: dict[str, Any]) -> Iterator[Row]:
    """One document a file."""
    data = stream.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        yield Row(name, None, too_long(name))
        return
    row = decoded(name, data, 0)
    yield row if row.text is None else Row(name, stripped(row.text))


def stripped(page: str) -> str:
    """The text of a page: white space is one space, a block begins a line, `pre` stays as it is."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    runs = ["".join(parts) for parts in parser.runs]
    plain = [_LINES.sub("\n", run) if place % 2 == 0 else run for place, run in enumerate(runs)]
    return "".join(plain).strip()


class _Text(HTMLParser):
    """Gathers runs of text: those at odd places stand in `pre`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.runs: list[list[str]] = [[]]
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self._hidden.append(tag)
        elif tag in BLOCKS and "head" in self._hidden:
            self._hidden.clear()  # a head that was never closed, as HTML allows
        if tag in BLOCKS:
            self.runs[-1].append("\n")
        if tag == "pre" and not self._in_pre():
            self.runs.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.runs[-1].append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        if tag == "pre" and self._in_pre():
            self.runs.append([])
        if tag in BLOCKS:
            self.runs[-1].append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.runs[-1].append(data if self._in_pre() else _SPACES.sub(" ", data))

    def _in_pre(self) -> bool:
        return len(self.runs) % 2 == 0
