"""Measures of a study (`evaluation.measures`) as settings: one id each. No torch."""

import difflib
import functools
from pathlib import Path
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.plan.recipe import is_large
from scalelab.plan.tasks import task_settings

FOLDER = Path(__file__).parents[1] / "evaluation" / "measures"
FORMAT = 1
WINDOWS = 512
"""Windows of held-out text that a measure is taken on, at most."""

WRITING = ("generation",)
"""Measures whose texts several processes can share."""


@functools.cache
def names() -> tuple[str, ...]:
    """The measures that there are: a file each, which planning does not import."""
    return tuple(sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))


def measure_settings(study: Study) -> dict[str, dict[str, Any]]:
    """Settings of the study's measures by id (NAME-DIGEST), in its order.

    Raises:
        UserError: there is no measure of that name, or tasks are given and not measured.
    """
    _check_tasks(study)
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
            **(task_settings(study) if name == "tasks" else {}),
        }
        found[f"{name}-{digest(settings)}"] = settings
    return found


def processes_of(study: Study, measure: str, n: int) -> int:
    """Processes that take a measure of a run of n non-embedding parameters (`compute`)."""
    of_large = study.compute.large_writers if measure in WRITING else 1
    return of_large if is_large(study, n) else 1


def _check_tasks(study: Study) -> None:
    asked = study.evaluation
    if "tasks" in asked.measures:
        return
    for key in ("tasks", "tasks_folder"):
        if getattr(asked, key):
            raise UserError(
                f"evaluation.{key}: found without the measure that asks them; expected "
                "evaluation.measures: [tasks]"
            )
