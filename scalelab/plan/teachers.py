"""Distillation: which run is the teacher of a student, and how the student says so."""

from dataclasses import replace
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError
from scalelab.plan.families import count, objective
from scalelab.plan.identity import run_id
from scalelab.plan.objectives import CAUSAL
from scalelab.plan.recipe import specification
from scalelab.plan.sizes import shape_of

KEY = "training.distil_weight"


def teacher_of(study: Study, seed: int, corpus_id: str) -> dict[str, Any] | None:
    """The specification of the teacher of a run; None where the run has none.

    The teacher is the largest size of the ladder with the settings of the run, trained without a
    teacher: a plain run of the same text.

    Raises:
        UserError: the study has no ladder of widths, trains in rounds, or asks for something that
            does not go with a teacher.
    """
    if not study.training.distil_weight:
        return None
    training, family = study.training, study.model.family
    for key, found in {
        "training.compile": training.compile,
        "training.init": training.init is not None,
        "training.schedule.share_trunk": training.schedule.share_trunk,
        "compute.sharding": study.compute.sharding,
        "adaptive": study.adaptive is not None,
        f"the family {family}": objective(family) is not CAUSAL,
    }.items():
        if found:
            raise UserError(
                f"{KEY}: found {training.distil_weight:g}, which {key} does not go with"
            )
    if study.design["kind"] != "ladder" or not study.ladder.widths:
        raise UserError(
            f"{KEY}: found {training.distil_weight:g}, expected it with the design ladder and "
            "ladder.widths, whose largest size is the teacher"
        )
    at = replace(study, training=replace(training, distil_weight=0.0))
    shape = shape_of(at, max(study.ladder.widths))
    return specification(at, shape, count(shape), seed, corpus_id)


def taught(study: Study, spec: dict[str, Any], teacher: dict[str, Any]) -> dict[str, Any]:
    """The specification of a student of that teacher."""
    distil = {
        "teacher": run_id(teacher),
        "weight": study.training.distil_weight,
        "temperature": study.training.distil_temperature,
    }
    return {**spec, "training": {**spec["training"], "distil": distil}}


def teacher_id(spec: dict[str, Any]) -> str | None:
    """The run that a specification names as its teacher."""
    distil = spec["training"].get("distil")
    return None if distil is None else str(distil["teacher"])
