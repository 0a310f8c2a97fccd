"""Checks of how the runs were trained, from the columns of their table."""

from typing import Any

import numpy as np

from scalelab.laws.judgement.checks import at, few, line, numbers
from scalelab.laws.runs.clusters import RUN_COLUMNS
from scalelab.laws.runs.points import Points

RATES = ("lr", "learning_rate", "peak_lr", "max_lr")
WARMUP = ("warmup_steps", "warmup_tokens")
WARMUP_SHARE = 0.1
HORIZON = ("schedule_steps", "decay_steps", "lr_decay_steps", "total_steps", "max_steps")
EARLY = 0.98
"""A run that stops before this share of its schedule has a learning rate left to lower."""


def rate_edge(points: Points) -> dict[str, Any] | None:
    """Sizes whose best learning rate is the lowest or highest one that was tried."""
    frame = points.frame if points.trials is None else points.trials
    column = next((c for c in RATES if c in frame.columns and frame[c].dtype.kind in "if"), None)
    if column is None or column in points.columns:
        return None
    cell, rate = frame["_point"].to_numpy(), frame[column].to_numpy(float)
    log_loss = np.log(frame[points.y].to_numpy(float))
    swept, edge = 0, []
    for place in range(len(points.x)):
        mine = cell == place
        rates, trial = np.unique(rate[mine], return_inverse=True)
        if len(rates) < 2:
            continue
        swept += 1
        best = int(np.argmin(np.bincount(trial, log_loss[mine]) / np.bincount(trial)))
        if best in (0, len(rates) - 1):
            which = "highest" if best else "lowest"
            edge.append(f"{points.name(place)} at the {which}, {rates[best]:g}")
    if not swept:
        return None
    if not edge:
        return line("learning rate", True, f"the best {column} lies inside each of {swept} sweeps")
    return line(
        "learning rate",
        False,
        f"the best {column} is at the edge of its sweep for {len(edge)} of {swept} sizes, so a "
        f"better one may lie outside: {few(edge)}",
    )


def undertrained(points: Points) -> dict[str, Any] | None:
    """Fewer tokens than parameters, a loss worse than guessing, or mostly warm-up."""
    found, known = [], False
    size = next((v for c in ("N", "N_total") if (v := numbers(points, c)) is not None), None)
    tokens = numbers(points, "D")
    if size is not None and tokens is not None:
        known = True
        if (tokens < size).any():
            found.append(f"fewer tokens than parameters at {at(points, tokens < size)}")
    vocab = numbers(points, "vocab")
    if vocab is not None and points.y == "loss_nats":
        known = True
        worse = points.frame[points.y].to_numpy(float) >= np.log(vocab)
        if worse.any():
            found.append(f"a loss no better than guessing, ln of vocab, at {at(points, worse)}")
    for column in WARMUP:
        warm = numbers(points, column)
        whole = numbers(points, "steps" if column.endswith("steps") else "D")
        if warm is not None and whole is not None:
            known = True
            long = warm > WARMUP_SHARE * whole
            if long.any():
                found.append(f"warm-up over a tenth of the run at {at(points, long)}")
    if not known:
        return None
    return line("undertrained", not found, "; ".join(found) or "no run is undertrained by its row")


def schedule(points: Points) -> dict[str, Any] | None:
    """Losses taken before the learning rate came down are too high for their D."""
    frame, known, found = points.frame, False, []
    step, steps = numbers(points, "step"), numbers(points, "steps")
    for name in RUN_COLUMNS:
        if name not in frame.columns:
            continue
        known = True
        shared = frame.groupby(name)["_point"].nunique()
        if (shared > 1).any():
            found.append(
                f"points are checkpoints of {int((shared > 1).sum())} runs (column {name}): all "
                "but the last of each were not trained on a schedule made for their D"
            )
            break
    horizon = next((v for c in HORIZON if (v := numbers(points, c)) is not None), None)
    # Where both are told, `step` is that of the loss and `steps` those of the whole run.
    reached = steps if step is None else step
    if horizon is None and step is not None:
        horizon = steps
    if reached is not None and horizon is not None:
        known = True
        early = reached < EARLY * horizon
        if early.any():
            found.append(f"the schedule ends later than the run at {at(points, early)}")
    if "final" in frame.columns:
        known = True
        cooled = frame["final"].astype(str).str.lower().isin(["true", "1", "1.0", "yes"])
        if not cooled.all():
            found.append(f"column final says no at {at(points, ~cooled.to_numpy())}")
    if not known:
        return None
    told = "; ".join(found) or "no row is known to be from before the end of its schedule"
    return line("schedule", not found, told)
