"""What made an artifact: code, data, settings and libraries; and the random streams of a run."""

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
from scalelab.parsing import parsed

PACKAGE = Path(__file__).parent
CORPUS = ("corpus/formats", "corpus/tokenizers", "corpus/cleaning")
"""Folders whose modules are found by name, so that no import leads to them."""

CODE = {
    "corpus": ("corpus/prepare", "corpus/sources/{source}", *CORPUS),
    "set": ("corpus/sets", "corpus/sources/{source}", *CORPUS),
    "train": ("training/run", "plan/families/{family}", "models/families/{family}"),
    "trunk": ("training/trunk", "plan/families/{family}", "models/families/{family}"),
    "evaluate": ("evaluation/run", "plan/families/{family}", "models/families/{family}"),
    "samples": ("evaluation/samples", "plan/families/{family}", "models/families/{family}"),
    "measure": ("evaluation/measure", "evaluation/measures/{measure}"),
    "collect": ("evaluation/collect",),
    "track": ("tracking",),
    "round": ("advise/rounds",),
    "fit": ("laws",),
    "figures": ("figures",),
    "report": ("report",),
}
"""Where the code of each stage starts; what it imports from there on counts as well. Folders count
whole, their templates included. Families, sources and steps of
cleaning are found by name, not by an import."""

NEUTRAL = {
    "provenance",
    "parsing",
    "logs",
    "errors",
    "config",
    "training.progress",
    "training.offsite",
}
"""Modules that change no number: a change in them reruns nothing. What a study file says reaches
a stage as a parameter of its rule, so the code that reads the file need not count."""

LIBRARIES = (
    *("torch", "torchao", "numpy", "scipy", "pandas", "tokenizers", "transformers", "snakemake"),
)


def stage_digest(stage: str, **names: str) -> str:
    """Digest of the code of a stage; `names` fill in its family or source.

    A family `hf:NAME` is the module `hf`.
    """
    names = {key: name.partition(":")[0] for key, name in names.items()}
    return code_digest(*(entry.format(**names) for entry in CODE[stage]))


@functools.cache
def code_digest(*entries: str) -> str:
    """Digest of code and of what it imports within the package, for rerun decisions.

    Comments, docstrings and formatting do not count, so only a change of behaviour reruns work.
    An entry is a folder or a module (`"laws"`, `"training/run"`).
    """
    total = hashlib.sha256()
    for path in sorted(code_files(*entries)):
        total.update(path.relative_to(PACKAGE).as_posix().encode())
        total.update(_content(path))
    parsed().save()
    return total.hexdigest()[:12]


def code_files(*entries: str) -> set[Path]:
    """The files that a digest covers."""
    pending: list[Path] = []
    for entry in entries:
        folder = PACKAGE / entry
        found = folder.rglob("*") if folder.is_dir() else [folder.with_suffix(".py")]
        pending += [path for path in found if path.is_file() and path.suffix != ".pyc"]
    seen: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += _imported(path) if path.suffix == ".py" else []
    return seen


def _imported(path: Path) -> list[Path]:
    """Files of this package that a module imports, wherever in it the import stands."""
    out = []
    for name in parsed().of(path.read_text(encoding="utf-8"))[1]:
        head, *parts = name.split(".")
        if head != "scalelab" or not parts or NEUTRAL & {parts[0], ".".join(parts[:2])}:
            continue
        inner = PACKAGE.joinpath(*parts)
        out += [
            file for file in (inner.with_suffix(".py"), inner / "__init__.py") if file.is_file()
        ]
    return out


def _content(path: Path) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    return parsed().of(path.read_text(encoding="utf-8"))[0].encode()


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
