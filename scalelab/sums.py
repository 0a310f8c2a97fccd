"""The verb `verify`: whether files are those that were written, wherever they have been since.

A file of sums is JSON with `files`: SHA-256 by name, relative to its folder. The manifests of a
corpus and of an evaluation set are such files, each checkpoint has one, and workflows in object
storage write one for each run. They are looked at whenever a corpus, a set or a checkpoint is
opened. A single file may have its sum beside it, in the form of `sha256sum`.
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from scalelab.errors import UserError
from scalelab.files import file_sha256, read_json, write_json, write_text

STORED = "delete it where it is stored, and the same command makes it anew"
"""What to do about a file that is not as it was written, unless told otherwise."""
CHECKPOINT = "sums.json"
"""Name of the file of sums in a checkpoint."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab verify`."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a manifest.json or sums.json"
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="JSON",
        help="write the sums of FILE, files and folders beside it, instead",
    )


def run(args: argparse.Namespace) -> int:
    """Check files of sums, or write one."""
    if args.write:
        write(args.write, args.files)
        return 0
    for path in args.files:
        check(path)
    return 0


def write(out: Path, files: Sequence[Path]) -> None:
    """Write the sums of files, and of all files in folders, to `out`.

    Raises:
        UserError: one is missing, or does not lie in the folder of `out` or below it.
    """
    root, found = out.parent, {}
    for given in files:
        inside = [path for path in sorted(given.rglob("*")) if path.is_file()]
        for path in inside if given.is_dir() else [given]:
            try:
                found[path.relative_to(root).as_posix()] = file_sha256(path)
            except ValueError:
                raise UserError(f"{path}: expected a file below {root}") from None
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    write_json(out, {"files": found})


def check(path: Path, remedy: str = STORED) -> None:
    """Compare the files that `path` lists with their sums; those that are not here are left out.

    remedy: what the sentence about a file that differs says can be done.

    Raises:
        UserError: a file differs, or `path` is no file of sums.
    """
    told = read_json(path)
    files = told.get("files") if isinstance(told, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{path}: expected a file of sums, with `files`")
    for name, sha256 in files.items():
        file = path.parent / name
        if file.is_file() and file_sha256(file) != sha256:
            raise UserError(
                f"{file}: damaged or changed since it was written: its SHA-256 is not that of "
                f"{path.name}; {remedy}"
            )


def check_checkpoint(folder: Path) -> None:
    """Compare the files of a checkpoint with its sums, where it has them.

    Raises:
        UserError: one differs.
    """
    path = folder / CHECKPOINT
    if path.is_file():
        again = f"delete {folder.parent}, and the workflow trains the run anew"
        check(path, f"{again}, or delete {path.name} if the change is meant")


@contextlib.contextmanager
def sealed(path: Path) -> Iterator[None]:
    """Write the sum of `path` beside it once the block has written it; meanwhile it has none."""
    seal = _seal_of(path)
    seal.unlink(missing_ok=True)
    yield
    write_text(seal, f"{file_sha256(path)}  {path.name}\n")


def check_seal(path: Path) -> None:
    """Compare a file with the sum beside it, where there is one.

    Raises:
        UserError: they differ.
    """
    seal = _seal_of(path)
    if seal.is_file() and path.is_file():
        told = seal.read_text(encoding="utf-8", errors="replace").split()
        if told[:1] != [file_sha256(path)]:
            raise UserError(
                f"{path}: damaged or changed since it was written: its SHA-256 is not that of "
                f"{seal.name}; delete {path.name}, and the workflow makes it anew, or delete "
                f"{seal.name} if the change is meant"
            )


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
