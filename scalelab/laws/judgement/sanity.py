"""Data that no law should be fitted to: refused with one sentence before or after the fit."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.estimation.estimate import Estimate, make_problem
from scalelab.laws.estimation.solver import minimise
from scalelab.laws.registry import Form
from scalelab.laws.runs.points import Points
from scalelab.laws.shapes.constraints import Constraints

ONE_VARIABLE = 0.999
LN_2 = float(np.log(2))
SUSPICIOUS_RESIDUAL = 0.03
CLEAR_GAIN = 25.0


def moves_together(points: Points) -> bool:
    """Whether the first two x columns are one variable (|correlation of their logs| above 0.999).

    Then their terms cannot be told apart: any split of the reducible loss fits alike. A third
    column (unique tokens) may hold one value.
    """
    if points.x.shape[1] < 2:
        return False
    logs = np.log(points.x[:, :2])
    if (logs.std(0) < 1e-9).any():
        return False
    return bool(abs(np.corrcoef(logs.T)[0, 1]) > ONE_VARIABLE)


def check_sizes(form: Form, points: Points, constraints: Constraints) -> None:
    """Enough distinct values of each column, a degree of freedom left, losses that differ."""
    losses = np.exp(points.log_loss)
    for place, column in enumerate(points.columns):
        if form.columns[place] in form.steady:
            continue
        values = np.unique(points.x[:, place])
        if len(values) == 1:
            raise UserError(
                f"column {column} holds one value ({values[0]:g}) in all {len(points.frame)} "
                "rows: a law needs several sizes"
            )
        if len(points.columns) > 1 and len(values) < 3:
            raise UserError(
                f"column {column} holds {len(values)} distinct values: {form.name} needs at "
                "least 3 of each x"
            )
    sizes = len(points.x)
    parameters = len(form.parameters) - len(constraints.fixed) - len(constraints.tied)
    if sizes <= parameters:
        raise UserError(
            f"{sizes} sizes, {parameters} parameters: no degrees of freedom, so no law fitted "
            f"({form.name} needs at least {parameters + 1} distinct sizes)"
        )
    if losses.max() <= losses.min() * (1 + 1e-12):
        raise UserError(
            f"column {points.y} holds one value ({losses[0]:g}) at all {sizes} sizes, so loss does "
            f"not {'rise' if form.rising else 'fall'} with {points.columns[0]}: no law fitted"
        )
    floor = constraints.fixed.get(form.offset) if form.offset else None
    lowest = int(np.argmin(losses))
    if floor is not None and losses[lowest] <= floor:
        raise UserError(
            f"loss {losses[lowest]:.6g} of {points.name(lowest)} is below the fixed {form.offset} "
            f"{floor:g}: expected a floor below every loss (same tokenizer, text and unit)"
        )


def check_direction(form: Form, points: Points) -> None:
    """Loss must fall with every x (rise, for a law that does), the others held fixed.

    Judged by least squares of log loss on the logs of x. With several x a slope must be wrong by
    more than two standard errors: around the optimum of an IsoFLOP grid the loss is flat in N.
    """
    logs = np.log(points.x)
    design = np.column_stack([np.ones(len(logs)), logs - logs.mean(0)])
    slopes = np.linalg.lstsq(design, points.log_loss, rcond=None)[0]
    spare = max(len(logs) - design.shape[1], 1)
    variance = ((points.log_loss - design @ slopes) ** 2).sum() / spare
    errors = np.sqrt(variance * np.diag(np.linalg.pinv(design.T @ design)))
    allowed = 2 * errors[1:] if len(points.columns) > 1 else np.zeros(1)
    varied = np.ptp(logs, axis=0) > 0
    for column, slope, most in zip(
        np.array(points.columns)[varied], slopes[1:][varied], allowed[varied], strict=True
    ):
        if form.rising and slope < 1e-12 - most:
            raise UserError(f"{points.y} does not rise with {column}: no law fitted")
        if not form.rising and slope > most - 1e-12:
            raise UserError(f"loss does not fall with {column}: no law fitted")


def check_units(best: Estimate, points: Points) -> None:
    """Refuse losses that fit a law far better once some of them are divided by ln 2.

    Tried: one run of neighbouring sizes at either end, or one size alone, in bits among nats or
    the other way round. Only when a residual is above 3%, so a clean fit never comes here.
    """
    count = len(points.log_loss)
    clean = np.abs(best.residuals).max() < SUSPICIOUS_RESIDUAL
    if clean or points.x.shape[1] > 1 or best.base.rising:
        return
    masks = [np.arange(count) >= k for k in range(1, count)]
    masks += [np.arange(count) == k for k in range(count)]
    tried = [(mask, sign) for mask in masks for sign in (1, -1)]
    total = _squares(best, [np.zeros(count)])[0]
    sums = _squares(best, [mask * sign * np.log(LN_2) for mask, sign in tried])
    if sums.min() * CLEAR_GAIN < total:
        mask, sign = tried[int(np.argmin(sums))]
        odd = np.flatnonzero(mask) if sign > 0 else np.flatnonzero(~mask)
        raise UserError(
            f"{points.names(odd)}: these losses fit the others only if they are bits and the "
            "others nats, so units seem mixed: no law fitted"
        )


def _squares(best: Estimate, shifts: Sequence[np.ndarray]) -> np.ndarray:
    """Least-squares objective of the form for log losses moved by each shift (n,).

    A law with a large grid of starts is fitted again from where it is, all shifts at once.
    """
    if hasattr(best.base, "dense_starts"):
        moved, ones = best.problem.y + np.array(shifts), np.ones(len(best.problem.u))
        problem = dataclasses.replace(best.problem, y=moved, weights=ones, delta=None)
        start = np.repeat(best.theta[None], len(shifts), 0)
        return minimise(problem, start, *best.form.bounds(problem.u), 60).value
    values = []
    x = np.exp(best.problem.u + best.centre)
    for shift in shifts:
        problem, _, _ = make_problem(
            best.base, x, best.problem.y + shift, None, None, best.constraints
        )
        starts = problem.form.starts(problem.u, np.exp(problem.y))
        values.append(minimise(problem, starts, *problem.form.bounds(problem.u), 60).value.min())
    return np.array(values)
