"""Accuracy of tasks against the loss of the model, and through it against size.

The law `downstream` (Gadre et al. 2024, arXiv:2403.08540, equation 5), Err = epsilon - k exp(-gamma
L), with epsilon held at the error of chance, which is known of a task. Accuracy against N follows
where the study's first law is one of the loss in N (two steps, as Dubey et al. 2024,
arXiv:2407.21783, section 3.2.1).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import ACCURACY, CHANCE, CONTINUOUS, TASKS
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.fitting import fit
from scalelab.laws.registry import Array
from scalelab.laws.result import FitResult, finite
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.rows import failed

if TYPE_CHECKING:
    from pandas import DataFrame

LAW = "downstream"
FEWEST = 4
"""Runs of different losses that the law is fitted to, at least."""
CLEAR = 3.0
"""Standard errors that the best accuracy is above chance by: it is the best of many runs."""
STEPS = 40
"""Points of a drawn curve."""


@answer(settings=("level",))
def downstream(material: Material, settings: Mapping[str, Any]) -> Block:
    """The law of each task whose accuracy is above chance, and the runs of all tasks.

    settings: level of the intervals (0.95).

    Raises:
        UserError: no accuracy of a task, no loss, or a level that is none.
    """
    level = float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    runs, names = material.runs, [str(name) for name in material.runs.columns]
    for column in ("N", "loss_nats"):
        if column not in names:
            raise UserError(missing_column(column, names))
    tasks = [
        name.removesuffix(ACCURACY)
        for name in names
        if name.startswith(TASKS) and name.endswith(ACCURACY)
    ]
    if not tasks:
        raise UserError("no accuracy of a task, such as tasks/cloze_accuracy: see evaluation.tasks")
    good = runs[~runs["status"].map(failed)] if "status" in names else runs
    warnings: list[str] = []
    rows = [_row(good, task, level, material.fits, warnings) for task in tasks]
    return {"level": level, "rows": rows, "cost": None, "warnings": warnings}


def _row(
    runs: "DataFrame",
    task: str,
    level: float,
    fits: tuple[FitResult, ...],
    warnings: list[str],
) -> dict[str, Any]:
    """One task: its runs, and its law where there is one."""
    name = task.removeprefix(TASKS)
    used = runs[np.isfinite(_values(runs, f"{task}{ACCURACY}"))]
    chances = _values(used, f"{task}{CHANCE}")
    known = chances[np.isfinite(chances)]
    chance = float(known[0]) if len(known) else None
    second = next((s for s in CONTINUOUS if f"{task}{s}" in runs.columns), None)
    points = {
        "N": _values(used, "N"),
        "loss": _values(used, "loss_nats"),
        "accuracy": _values(used, f"{task}{ACCURACY}"),
        "accuracy_se": _values(used, f"{task}{ACCURACY}_se"),
        "continuous": _values(used, f"{task}{second}"),
        "continuous_se": _values(used, f"{task}{second}_se"),
    }
    law, reason = None, _too_little(points, chance)
    if reason is None:
        try:
            law = _law(used, task, level, chance, fits)
        except UserError as error:
            reason = str(error)
    if reason is not None:
        warnings.append(f"{name}: no law, {reason}")
    return {
        "task": name,
        "chance": chance,
        "continuous": second and second.removeprefix("_"),
        "law": law,
        "reason": reason,
        "runs": [
            {key: finite(column[place]) for key, column in points.items()}
            for place in np.argsort(points["N"], kind="stable")
        ],
    }


def _too_little(points: Mapping[str, Array], chance: float | None) -> str | None:
    """Why no law can be fitted to a task; None where it can."""
    if chance is None:
        return "the accuracy of chance is not known"
    if len(np.unique(points["loss"])) < FEWEST:
        return f"{len(np.unique(points['loss']))} losses, a law needs {FEWEST}"
    best = int(points["accuracy"].argmax())
    error = float(np.nan_to_num(points["accuracy_se"][best]))
    above = float(points["accuracy"][best]) - chance
    if above <= CLEAR * error or above <= 0:
        return (
            f"the best accuracy, {points['accuracy'][best]:.3g}, is not {CLEAR:g} standard errors "
            f"above the {chance:.3g} of chance"
        )
    if points["accuracy"].max() >= 1:
        return "an accuracy of 1 leaves no error to fit"
    return None


def _law(
    runs: "DataFrame", task: str, level: float, chance: float | None, fits: tuple[FitResult, ...]
) -> dict[str, Any]:
    """The law of one task, its line against the loss and, by a law of N, against N."""
    table = runs.assign(error=1 - _values(runs, f"{task}{ACCURACY}"))
    fixed = {} if chance is None else {"epsilon": 1 - chance}
    found = fit(LAW, table, x="loss_nats", y="error", level=level, fixed=fixed)
    losses = np.linspace(*_ends(_values(runs, "loss_nats")), STEPS)
    ends = found.interval(losses)
    # The error's ends are the accuracy's the other way round.
    line = np.column_stack([losses, found.predict(losses), ends[:, 1], ends[:, 0]])
    line[:, 1:] = 1 - line[:, 1:]
    held = found.block["heldout"]
    return {
        "params": found.params,
        "intervals": found.intervals,
        "method": found.block["interval_method"],
        "not_determined": sorted(found.block["not_determined"]),
        "line": [[finite(value) for value in row] for row in line],
        "by_size": _by_size(found, fits, _values(runs, "N")),
        "heldout": held and _accuracies(held),
        "warnings": list(found.warnings),
    }


def _by_size(found: FitResult, fits: tuple[FitResult, ...], n: Array) -> list[list[float]]:
    """N and the accuracy there, by the study's first law of the loss in N and this one."""
    first = next((one for one in fits if one.columns == ("N",) and one.y == "loss_nats"), None)
    if first is None:
        return []
    low, high = _ends(n)
    sizes = np.geomspace(low, high, STEPS)
    accuracy = 1 - found.predict(first.predict(sizes))
    return [[float(a), float(b)] for a, b in zip(sizes, accuracy, strict=True)]


def _accuracies(held: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of least loss, left out and predicted from the others."""
    low, high = held["low"], held["high"]
    return {
        "left_out": held["left_out"],
        "predicted": 1 - held["predicted_error"],
        "interval": [None if end is None else 1 - end for end in (high, low)],
        "observed": 1 - held["observed_error"],
    }


def _ends(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _values(table: "DataFrame", column: str) -> Array:
    """A column as numbers; not one of them where there is no such column."""
    if column not in table.columns:
        return np.full(len(table), math.nan)
    return np.asarray(table[column], dtype=float)
