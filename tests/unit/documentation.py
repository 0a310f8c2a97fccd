"""What the documentation holds that can be run or read by a program: commands and code blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("scalelab", "snakemake", "python", "make", "pip", "pytest", "git", "torchrun", "wandb")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXTENSIONS = ("docs/adding.md", "docs/howto/own-law.md", "docs/howto/own-model.md")
"""Pages whose blocks are new files of the package; what they say is tried in a copy of it."""
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Command:
    """One command as it stands on a page."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The words as a shell splits them, without its comment."""
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """One fenced block of code."""

    page: str
    line: int
    language: str
    text: str
    file: str | None
    """The last file that the paragraph above names, which the block is then the whole of."""


def pages() -> list[str]:
    """Every page that people read, and the study files, whose comments may hold commands."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    found += [ROOT / "config" / "README.md", ROOT / "results" / "README.md"]
    found += (ROOT / "config").rglob("*.yaml")
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = read(page)
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip().rpartition("\n\n")[2]
        files = re.findall(r"`([\w./-]+\.(?:py|ya?ml))`", above) if above.endswith(":") else []
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, line, match[1], match[2], files[-1] if files else None))
    return found


def spans(page: str) -> list[tuple[int, str]]:
    """Line and text of what stands in `backticks` outside blocks, in order."""
    text = FENCE.sub(lambda match: "\n" * match[0].count("\n"), read(page))
    return [
        (text.count("\n", 0, match.start()) + 1, " ".join(match[1].split()))
        for match in SPAN.finditer(text)
    ]


def commands(page: str) -> list[Command]:
    """All commands of a page: its blocks of shell, then the commands within its text."""
    if page.endswith(".yaml"):
        lines = enumerate(read(page).splitlines(), 1)
        comments = ((number, line[1:].strip()) for number, line in lines if line.startswith("#"))
        return [Command(page, number, text) for number, text in comments if is_command(text)]
    shell = (one for one in blocks(page) if one.language in ("sh", "bash", "console"))
    found = [command for block in shell for command in _lines(block)]
    return found + [Command(page, n, text) for n, text in spans(page) if is_command(text)]


def is_command(text: str) -> bool:
    """Whether a text begins with a program and has a word after it."""
    return text.split(" ", 1)[0] in PROGRAMS and " " in text


def _lines(block: Block) -> Iterator[Command]:
    """The commands of a block; a backslash at its end goes on in the next line."""
    whole, start = "", block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        start = start if whole else number
        if line.endswith("\\"):
            whole += line[:-1]
            continue
        whole += line
        if shlex.split(whole, comments=True):
            yield Command(block.page, start, whole)
        whole = ""
