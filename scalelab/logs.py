"""Progress lines: to the terminal and to a log file at the same time."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalelab.errors import UserError


def add_log_argument(parser: argparse.ArgumentParser) -> None:
    """The option --log, which every long verb has."""
    parser.add_argument("--log", type=Path, metavar="FILE", help="file that gets the progress too")


def reporter(log: Path | None) -> Callable[[str], None]:
    """A function that prints a line to stderr, and appends it to `log` if one is given."""
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        if log:
            with open(log, "a", encoding="utf-8") as out:
                out.write(line + "\n")

    return report


def json_argument(text: str) -> Any:
    """JSON given on the command line, or `@FILE` that holds it."""
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise UserError(f"{text[1:]}: cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"expected JSON, but {error}: {text[:80]!r}") from None
