"""What made an artifact: code, data, settings and libraries; and the random streams of a run."""

import ast
import functools
import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scalelab import __version__
from scalelab.files import digest

PACKAGE = Path(__file__).parent
CODE = {
    "corpus": ("files", "plan/data", "corpus"),
    "train": ("corpus/shards", "plan/families", "models", "training"),
    "evaluate": ("corpus/shards", "plan/families", "models", "evaluation"),
    "track": ("tracking",),
    "fit": ("laws",),
    "figures": ("figures",),
    "report": ("report",),
}
"""The code that each stage depends on; a change of it reruns the stage."""

LIBRARIES = ("torch", "numpy", "scipy", "pandas", "tokenizers", "transformers", "snakemake")


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed of its own for each consumer of randomness, from (seed, purpose)."""
    text = f"{seed}:{purpose}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


@functools.cache
def code_digest(*layers: str) -> str:
    """Digest of the code of some layers (`"training"`, `"files"`, ...), for rerun decisions.

    Comments, docstrings and formatting do not count, so only a change of behaviour reruns work.
    A layer is a folder or a module of the package.
    """
    total = hashlib.sha256()
    for layer in layers:
        folder = PACKAGE / layer
        paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        for path in paths:
            total.update(str(path.relative_to(PACKAGE)).encode())
            total.update(_without_docstrings(path).encode())
    return total.hexdigest()[:12]


def _without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string alone in a body is a docstring (of a module, class, function or field).
            node.body = [item for item in body if not _is_text(item)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@functools.cache
def git_commit() -> str | None:
    """The commit of the source tree, with `+` when it has changes; None outside a checkout."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--", str(PACKAGE)) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Versions of Python and of those of the named libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def manifest(settings: Any, data_hash: str | None = None) -> dict[str, Any]:
    """The provenance block that every artifact carries.

    `settings` is whatever determined the artifact (a study, a run's specification); its digest is
    stored as `config_hash`.
    """
    return {
        "scalelab": __version__,
        "commit": git_commit(),
        "config_hash": digest(settings),
        "data_hash": data_hash,
        "versions": versions(),
        "interpreter": sys.executable,
        "machine": f"{platform.system()} {platform.machine()}",
    }
