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
        for inside, path in package_files(name, version, (".py",)):
            document = read_file(f"{name}/{inside}", inside, path, tally)
            if document is not None:
                yield document


def package_files(name: str, version: str, suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    """(path inside the package, path) of its files that end so, sorted; `stdlib` is one as well.

    Raises:
        UserError: the distribution is gone or has another version than the plan was made with.
    """
    if name == "stdlib":
        return standard_library(suffixes)
    return distribution_files(name, version, suffixes)


def standard_library(suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    """(path inside the library, path) of its files that end so, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [n for n in folders if n not in ("site-packages", "dist-packages")]
        paths = (Path(folder, name) for name in names if name.endswith(suffixes))
        found += [(path.relative_to(root).as_posix(), path) for path in paths]
    return sorted(found)


def distribution_files(
    name: str, version: str, suffixes: tuple[str, ...]
) -> list[tuple[str, Path]]:
    """(path inside site-packages, path) of the files that end so in a distribution's RECORD.

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
        if inside.endswith(suffixes) and ".." not in file.parts and not file.is_absolute():
            found.add((inside, Path(str(distribution.locate_file(file)))))
    return sorted(found)


def check_python(fingerprint: dict[str, Any]) -> None:
    """`UserError` when another Python runs than the one the corpus was planned with."""
    if fingerprint["python"] != platform.python_version():
        raise UserError(
            f"corpus: this is Python {platform.python_version()}, "
            f"but the corpus was planned with {fingerprint['python']}"
        )


def read_file(name: str, inside: str, path: Path, tally: Tally) -> Document | None:
    """A file as a document; None where it is left out, which is counted with its reason."""
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
