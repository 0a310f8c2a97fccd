"""Python source files of the standard library and of installed distributions."""

import importlib.metadata
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import Report, source
from scalelab.corpus.sources.filters import MAX_BYTES, path_reason, text_reason
from scalelab.errors import UserError
from scalelab.plan.data import release


@source("python")
def python_files(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """One document a .py file, tests, copies, generated files and tables left out."""
    check_python(fingerprint)
    for name, version in fingerprint["packages"].items():
        paths = standard_library() if name == "stdlib" else distribution_files(name, version)
        for inside, path in paths:
            document = _read(f"{name}/{inside}", inside, path, tally)
            if document is not None:
                yield document


def standard_library() -> list[tuple[str, Path]]:
    """(path inside the library, path) of its .py files, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [n for n in folders if n not in ("site-packages", "dist-packages")]
        paths = (Path(folder, name) for name in names if name.endswith(".py"))
        found += [(path.relative_to(root).as_posix(), path) for path in paths]
    return sorted(found)


def distribution_files(name: str, version: str) -> list[tuple[str, Path]]:
    """(path inside site-packages, path) of the .py files that a distribution's RECORD lists.

    Raises:
        UserError: the distribution is gone or has another version than the plan was made with.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"corpus: the package {name} {version} is not installed") from None
    if release(distribution.version) != version:
        raise UserError(
            f"corpus: {name} {distribution.version} is installed, "
            f"but the corpus was planned with {version}"
        )
    found = set()
    for file in distribution.files or []:
        inside = file.as_posix()
        if inside.endswith(".py") and ".." not in file.parts and not file.is_absolute():
            found.add((inside, Path(str(distribution.locate_file(file)))))
    return sorted(found)


def check_python(fingerprint: dict[str, Any]) -> None:
    """`UserError` when another Python runs than the one the corpus was planned with."""
    if fingerprint["python"] != platform.python_version():
        raise UserError(
            f"corpus: this is Python {platform.python_version()}, "
            f"but the corpus was planned with {fingerprint['python']}"
        )


def _read(name: str, inside: str, path: Path, tally: Tally) -> Document | None:
    try:
        size = path.stat().st_size
        tally.add("read", size)
        reason = path_reason(inside)
        if reason is None and size > MAX_BYTES:
            reason = "over 1 MB"
        if reason is None:
            text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
            reason = text_reason(text, size)
    except FileNotFoundError:
        tally.add("missing", 0)
        return None
    except UnicodeDecodeError:
        reason = "not UTF-8"
    if reason is not None:
        tally.add(reason, size)
        return None
    return Document(name, text)
