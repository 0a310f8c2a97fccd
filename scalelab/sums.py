"""The verb `verify`: whether files are those that were written, wherever they have been since.

A file of sums is JSON with `files`: SHA-256 by name, relative to its folder. The manifests of a
corpus and of an evaluation set are such files, and workflows in object storage write one for each
run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scalelab.errors import UserError
from scalelab.files import file_sha256, read_json, write_json


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


def check(path: Path) -> None:
    """Compare the files that `path` lists with their sums; those that are not here are left out.

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
                f"{path.name}; delete it where it is stored, and the same command makes it anew"
            )
