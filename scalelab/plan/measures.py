"""Measures of a study (`evaluation.measures`) as settings: one id each. No torch."""

import difflib
import functools
from pathlib import Path
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.files import digest

FOLDER = Path(__file__).parents[1] / "evaluation" / "measures"
FORMAT = 1
WINDOWS = 512
"""Windows of held-out text that a measure is taken on, at most."""


@functools.cache
def names() -> tuple[str, ...]:
    """The measures that there are: a file each, which planning does not import."""
    return tuple(sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))


def measure_settings(study: Study) -> dict[str, dict[str, Any]]:
    """Settings of the study's measures by id (NAME-DIGEST), in its order.

    Raises:
        UserError: there is no measure of that name.
    """
    found = {}
    for name in study.evaluation.measures:
        if name not in names():
            near = difflib.get_close_matches(name, names(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"evaluation.measures: found {name!r}, expected some of {', '.join(names())}{hint}"
            )
        settings = {
            "format": FORMAT,
            "measure": name,
            "split": study.evaluation.split,
            "windows": WINDOWS,
            "seed": study.seed,
        }
        found[f"{name}-{digest(settings)}"] = settings
    return found
