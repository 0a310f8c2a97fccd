"""What a module says and imports, parsed once on each machine: for the digests of the code."""

import ast
import contextlib
import functools
import hashlib
import json
import sys
from pathlib import Path

from scalelab.files import cache_file, write_text

FORMAT = 1
MOST = 5_000  # modules in the file of what is known, about 3 MB


class Parsed:
    """Modules that were parsed on this machine, by what they hold; kept in the user's cache.

    To parse the package takes longer than all else before Snakemake's first job. A file that cannot
    be read or written costs that time again, and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, tuple[str, list[str]]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            for key, (content, names) in json.loads(path.read_text(encoding="utf-8")).items():
                self.known[key] = (content, names)
        self.new: dict[str, tuple[str, list[str]]] = {}

    def of(self, source: str) -> tuple[str, list[str]]:
        """(digest of the code without comments and docstrings, names that it imports)."""
        # `ast.unparse` may write the same code in another way in another Python.
        text = f"{FORMAT} {sys.version_info[:2]}\n{source}"
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self.known:
            self.known[key] = self.new[key] = parse(source)
        return self.known[key]

    def save(self) -> None:
        """Write what is new, beside what others have written."""
        if not self.new:
            return
        with contextlib.suppress(OSError):
            kept = Parsed(self.path).known | self.new
            write_text(self.path, json.dumps(kept if len(kept) <= MOST else self.new))
        self.new = {}


@functools.cache
def parsed() -> Parsed:
    """What this machine knows."""
    return Parsed(cache_file("code.json"))


def parse(source: str) -> tuple[str, list[str]]:
    """(digest of the code without comments and docstrings, names that it imports).

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string alone in a body is a docstring (of a module, class, function or field).
            node.body = [item for item in body if not _is_text(item)] or [ast.Pass()]  # type: ignore[attr-defined]
    # unparse, not dump: the latter differs between versions of Python.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), sorted(names)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
