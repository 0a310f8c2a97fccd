"""What a checkpoint is worth in data: effective data transferred, by size and by data seen.

Hernandez et al. 2021 (arXiv:2102.01293): D_E is the data with which a model of the same size that
starts from random weights would reach the loss of one that starts from a checkpoint and sees D_F;
D_T = D_E - D_F was transferred (equation 1). In their low-data regime D_T = k D_F^alpha N^beta
(equation 2). D_E is read off between measured runs of one size, by a monotone cubic of log D in log
loss (Fritsch and Carlson 1980); beyond them it is a bound. Exponents are by least squares in logs
with Student's intervals (Draper and Smith 1998, section 5.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import of_set
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.estimation.plane import plane
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points, missing_column, prepare
from scalelab.laws.spent import spent, text

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST_SPARE = 2
"""Runs beyond the constants of the law that it takes."""
VARIED = math.log(1.1)
RANDOM = ("", "none")
"""What a column says of runs from random weights."""
MORE, LESS = "more", "less"


@dataclass(frozen=True)
class Curve:
    """Runs of one size from random weights: log D and log loss (n,), both falling or rising
    throughout; left_out: runs whose loss is not below that of all with fewer tokens."""

    log_d: Array
    log_loss: Array
    seeds: Array
    left_out: int

    def log_data(self, log_loss: float) -> tuple[float | None, str | None]:
        """log D_E of a loss; None and whether it is more or less than what was measured."""
        from scipy.interpolate import PchipInterpolator

        if log_loss < self.log_loss[-1]:
            return None, MORE
        if log_loss > self.log_loss[0]:
            return None, LESS
        return float(PchipInterpolator(-self.log_loss, self.log_d)(-log_loss)), None


@answer(settings=("axis", "y", "set", "level"))
def transfer(material: Material, settings: Mapping[str, Any]) -> Block:
    """D_E and D_T of every run that starts from a checkpoint, and the law of D_T.

    settings: axis, the column that says what a run starts from (init; none: random weights); y, the
    loss (loss_nats); set, the evaluation set that it is of; level of the intervals. Runs of one
    start, N and D are one point: of several settings the best, of seeds the mean.

    Raises:
        UserError: a missing column, no runs from random weights or none from a checkpoint, no size
            with two D from random weights, bad settings or rows.
    """
    runs, axis = material.runs, str(settings.get("axis", "init"))
    y = str(settings.get("y", "loss_nats"))
    y = of_set(settings["set"], y) if settings.get("set") else y
    level = float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    if axis not in runs.columns:
        raise UserError(missing_column(axis, [str(column) for column in runs.columns]))
    starts = runs[axis].map(text)
    names, from_random = sorted({*starts} - {*RANDOM}), starts.isin(RANDOM)
    if not names or not from_random.any():
        raise UserError(
            f"answer transfer: found {len(names)} checkpoints in the column {axis} and "
            f"{int(from_random.sum())} runs from random weights, expected both"
        )
    scratch = _points(runs[from_random], y)
    curves = _curves(scratch)
    if not curves:
        raise UserError(
            "answer transfer: expected a size with two or more D from random weights, between "
            "which effective data can be read off"
        )
    warnings = _of_curves(curves)
    tuned = {name: _points(runs[starts == name], y) for name in names}
    noise = _noise([scratch, *tuned.values()])
    if noise is None:
        warnings.append(
            "no size is trained with two seeds: effective data have no interval; give ladder.seeds"
        )
    values = []
    for name, points in tuned.items():
        cells, without = _cells(points, scratch, curves, noise, level)
        if without:
            warnings.append(
                f"{name}: {without} runs are left out, since their size has no two D from random "
                "weights"
            )
        law, told = _law(cells, level)
        warnings += [f"{name}: {line}" for line in told]
        values.append({"value": name, "cells": cells, "law": law})
    return {
        "axis": axis,
        "y": y,
        "level": level,
        "interval_method": "seeds, Student's t; the law by least squares in logs",
        "values": values,
        "cost": spent(runs.to_dict("records")),
        "warnings": warnings,
    }


def _points(table: "DataFrame", y: str) -> Points:
    """Points (D, N): in this order, since with little data N may be many times D."""
    return prepare(table, ("D", "N"), y)


def _curves(scratch: Points) -> dict[float, Curve]:
    """The curve of each size that has two D or more."""
    found = {}
    for n in np.unique(scratch.x[:, 1]):
        here = np.flatnonzero(scratch.x[:, 1] == n)
        here = here[np.argsort(scratch.x[here, 0])]
        losses = scratch.log_loss[here]
        least = np.concatenate([[np.inf], np.minimum.accumulate(losses)[:-1]])
        kept = here[losses < least]
        if len(kept) > 1:
            found[float(n)] = Curve(
                np.log(scratch.x[kept, 0]),
                scratch.log_loss[kept],
                np.array(scratch.seeds)[kept],
                len(here) - len(kept),
            )
    return found


def _of_curves(curves: Mapping[float, Curve]) -> list[str]:
    return [
        f"N = {n:.4g}: {curve.left_out} runs from random weights have no lower loss than runs of "
        "fewer tokens, and are left out"
        for n, curve in curves.items()
        if curve.left_out
    ]


def _noise(tables: Sequence[Points]) -> tuple[float, int] | None:
    """Standard deviation of ln loss between seeds, pooled, and its degrees of freedom."""
    square, dof = 0.0, 0
    for points in tables:
        several = np.array(points.seeds) > 1
        relative = points.seed_sd[several] / np.exp(points.log_loss[several])
        spare = np.array(points.seeds)[several] - 1
        square += float(spare @ relative**2)
        dof += int(spare.sum())
    return (math.sqrt(square / dof), dof) if dof and square else None


def _cells(
    points: Points,
    scratch: Points,
    curves: Mapping[float, Curve],
    noise: tuple[float, int] | None,
    level: float,
) -> tuple[list[dict[str, Any]], int]:
    """A cell for each N and D_F, and how many have no curve of their size."""
    alike = {
        (d, n): float(np.exp(v)) for (d, n), v in zip(scratch.x, scratch.log_loss, strict=True)
    }
    cells, without = [], 0
    for (d, n), log_loss, seeds in zip(points.x, points.log_loss, points.seeds, strict=True):
        curve = curves.get(float(n))
        if curve is None:
            without += 1
            continue
        value, bound = curve.log_data(log_loss)
        ends = _ends(curve, float(log_loss), seeds, noise, level)
        effective = None if value is None else math.exp(value)
        cells.append(
            {
                "N": float(n),
                "D": float(d),
                "loss": float(np.exp(log_loss)),
                "loss_scratch": alike.get((d, n)),
                "bound": bound,
                "measured": [float(np.exp(v)) for v in (curve.log_d[0], curve.log_d[-1])],
                "effective": effective,
                "effective_interval": ends,
                "transferred": None if effective is None else effective - float(d),
                "transferred_interval": [None if end is None else end - float(d) for end in ends],
                "share": None if effective is None else 1 - float(d) / effective,
            }
        )
    return sorted(cells, key=lambda cell: (cell["N"], cell["D"])), without


def _ends(
    curve: Curve, log_loss: float, seeds: int, noise: tuple[float, int] | None, level: float
) -> list[float | None]:
    """Ends of the interval of D_E from what seeds differ by; None where they are beyond the runs.

    The curve is taken to be as uncertain as the point on it with the fewest seeds.
    """
    from scipy.special import stdtrit

    if noise is None:
        return [None, None]
    spread, dof = noise
    error = spread * math.sqrt(1 / seeds + 1 / int(curve.seeds.min()))
    away = float(stdtrit(dof, 0.5 + level / 2)) * error
    ends = [curve.log_data(log_loss + sign * away)[0] for sign in (1, -1)]
    return [None if end is None else math.exp(end) for end in ends]


def _law(
    cells: Sequence[Mapping[str, Any]], level: float
) -> tuple[dict[str, Any] | None, list[str]]:
    """D_T = k D_F^alpha N^beta through the cells with a D_T above 0, or why there is none."""
    good = [cell for cell in cells if cell["transferred"] is not None and cell["transferred"] > 0]
    told = []
    if len(good) < len(cells):
        told.append(
            f"{len(cells) - len(good)} of {len(cells)} runs have no D_T above 0 that could be read "
            "off, and are no part of its law"
        )
    columns = {key: np.log([cell[key] for cell in good]) for key in ("D", "N")}
    varied = [key for key, values in columns.items() if len(good) and np.ptp(values) > VARIED]
    centre = {key: float(columns[key].mean()) for key in columns if len(good)}
    design = np.stack([np.ones(len(good)), *(columns[key] - centre[key] for key in varied)], axis=1)
    spare = len(good) - design.shape[1]
    enough = varied and spare >= FEWEST_SPARE
    if not enough or np.linalg.matrix_rank(design) < design.shape[1]:
        needed = max(design.shape[1], 2) + FEWEST_SPARE
        told.append(
            f"no law of D_T: it takes {needed} runs that differ in N or D, found {len(good)}"
        )
        return None, told
    triples, variance = plane(design, np.log([cell["transferred"] for cell in good]), level)
    exponents = dict(zip(varied, triples[1:], strict=True))
    return {
        "points": len(good),
        "exponent_D": exponents.get("D"),
        "exponent_N": exponents.get("N"),
        "at": {key: math.exp(value) for key, value in centre.items()},
        "value": [math.exp(v) for v in triples[0]],
        "log_k": triples[0][0] - sum(exponents[key][0] * centre[key] for key in varied),
        "scatter": math.sqrt(variance),
    }, told
