"""The tasks of a study as settings of the measure `tasks`: scalelab's own and those by name."""

from pathlib import Path
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.plan.hub import folder_sha256

OWN = {"cloze": 0.0, "choice": 0.25, "span": 0.0, "acceptable": 0.5, "follows": 0.5}
"""Tasks made from the held-out text, with the accuracy of chance."""


def task_settings(study: Study) -> dict[str, Any]:
    """What the measure `tasks` asks: names, and the folder of further tasks with its digest.

    Raises:
        UserError: no such folder, or an empty one.
    """
    asked, folder = study.evaluation.tasks or tuple(OWN), study.evaluation.tasks_folder
    found: dict[str, Any] = {"tasks": list(dict.fromkeys(asked))}
    if folder is None:
        return found
    if not Path(folder).is_dir():
        raise UserError(
            f"evaluation.tasks_folder: found {folder!r}, expected a folder with YAML files of "
            "lm-evaluation-harness"
        )
    digest = folder_sha256(Path(folder), "evaluation.tasks_folder")
    return {**found, "tasks_folder": folder, "tasks_sha256": digest}
