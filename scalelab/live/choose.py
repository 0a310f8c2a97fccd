"""Which study is meant."""

import argparse
from pathlib import Path

from scalelab.errors import UserError
from scalelab.live.announce import FILE
from scalelab.plan.folder import RESULTS, study_folder


def add_study_argument(parser: argparse.ArgumentParser) -> None:
    """The option --study."""
    parser.add_argument(
        "--study",
        type=Path,
        metavar="DIR",
        help="results/NAME, or NAME alone (default: the study that was started last)",
    )


def chosen(study: Path | None, results: Path = RESULTS) -> Path:
    """The folder of a study.

    Raises:
        UserError: none is named and there is none.
    """
    if study is not None:
        return study_folder(study, results)
    found = {
        path.parent: path.stat().st_mtime
        for name in (FILE, "plan.json")
        for path in results.glob(f"*/{name}")
    }
    if not found:
        raise UserError(f"{results}: no study has been started here; name one with --study DIR")
    return max(found, key=lambda folder: found[folder])
