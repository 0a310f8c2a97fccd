"""The folder of a study, from what a person types."""

from pathlib import Path

RESULTS = Path("results")


def study_folder(study: Path, results: Path = RESULTS) -> Path:
    """The folder itself, or that of this name in `results`; whole, where it is named by dots, since
    the runs lie beside it."""
    inside = results / study
    found = inside if not study.exists() and inside.is_dir() else study
    return found.resolve() if found.name in ("", "..") else found
