"""Differential privacy of a run: what a specification says of it, and what it does not go with."""

from collections.abc import Iterable, Mapping
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.plan.families import Counts, objective
from scalelab.plan.objectives import CAUSAL
from scalelab.plan.precisions import FP8

KEY = "training.dp_epsilon"


def private(study: Study, counts: Counts) -> dict[str, Any]:
    """The part of a specification that asks for a privacy budget; empty where there is none.

    The noise that the budget takes is found when the run begins, by the number of sequences that
    the corpus then turns out to have.

    Raises:
        UserError: the study asks for something that does not go with a budget.
    """
    training, family = study.training, study.model.family
    if training.dp_epsilon is None:
        return {}
    for key, found in {
        "training.compile": training.compile,
        "training.schedule.share_trunk": training.schedule.share_trunk,
        "training.checkpoint_activations": training.checkpoint_activations,
        "training.distil_weight": bool(training.distil_weight),
        f"training.precision {training.precision}": training.precision in ("fp16", *FP8),
        "compute.sharding": study.compute.sharding,
        f"the sparse family {family}": bool(counts.idle),
        f"the family {family}": objective(family) is not CAUSAL or ":" in family,
    }.items():
        if found:
            raise UserError(f"{KEY}: found {training.dp_epsilon:g}, which {key} does not go with")
    return {
        "dp": {
            "epsilon": training.dp_epsilon,
            "delta": training.dp_delta,
            "clip": training.dp_clip,
        }
    }


def told(specs: Iterable[Mapping[str, Any]]) -> list[str]:
    """A note for people on the budgets of a plan's runs; none where no run has one."""
    budgets = [spec["training"]["dp"] for spec in specs if "dp" in spec["training"]]
    if not budgets:
        return []

    def values(key: str) -> str:
        return ", ".join(f"{value:g}" for value in sorted({one[key] for one in budgets}))

    return [
        f"{len(budgets)} runs with differential privacy of a training sequence: epsilon "
        f"{values('epsilon')} at delta {values('delta')}, each run for itself; gradients of a "
        f"sequence clipped to {values('clip')}; noise is found when a run begins"
    ]
