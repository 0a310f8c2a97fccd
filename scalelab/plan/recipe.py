"""One run's settings as numbers: steps, batch, rate and schedule at its size."""

import math
from typing import Any

from scalelab.config import PowerRule, Study
from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape
from scalelab.plan.precisions import require_fp8
from scalelab.plan.private import private

FORMAT = 1
"""Raised when the meaning of a run's specification changes, so that old results are not taken."""


def is_large(study: Study, n: int) -> bool:
    """Whether `compute` counts a run of n non-embedding parameters among the large ones."""
    return study.compute.large_from is not None and n >= study.compute.large_from


def specification(
    study: Study, shape: Shape, counts: Counts, seed: int, corpus_id: str
) -> dict[str, Any]:
    """Everything that changes the result of a run, and in how many processes it is trained.

    Raises:
        UserError: a batch below one sequence, too few steps, a warm-up longer than the run, batches
            that processes cannot share, epochs without one whole sequence, a size that fp8 does
            not go with.
    """
    training, context = study.training, shape.context
    tokens = training.tokens or (training.tokens_per_param or 0) * counts.n_active
    sequences = round(_value(training.batch_tokens, counts.n_active, tokens) / context)
    if sequences < 1:
        raise UserError(
            f"training.batch_tokens: less than one sequence of {context} tokens at width "
            f"{shape.width}; raise it or lower model.context"
        )
    batch_tokens = sequences * context
    steps = round(tokens / batch_tokens)
    where = f"width {shape.width} (N = {counts.n:,})"
    if steps < 10:
        raise UserError(
            f"training: {where} would have {steps} steps of {batch_tokens} tokens, "
            "expected at least 10; lower batch_tokens or raise the tokens"
        )
    if training.unique_tokens is not None and training.unique_tokens < batch_tokens:
        raise UserError(
            f"training.unique_tokens: found {training.unique_tokens:,}, expected at least the "
            f"{batch_tokens:,} of one step"
        )
    require_fp8(study, shape, counts, where)
    warmup = _warmup(training.schedule, steps, batch_tokens, counts.n_active, tokens, where)
    large = is_large(study, counts.n)
    processes = study.compute.large_processes if large else 1
    if sequences < processes or (study.compute.sharding and sequences % processes):
        raise UserError(
            f"compute.large_processes: {where} would share batches of {sequences} sequences among "
            f"{processes} processes, expected "
            f"{'a whole number' if study.compute.sharding else 'at least one'} for each"
        )
    return {
        "format": FORMAT,
        "corpus": corpus_id,
        "model": shape.specification(),
        "training": {
            "steps": steps,
            "batch_tokens": batch_tokens,
            "unique_tokens": training.unique_tokens,
            "lr": float(f"{_value(training.lr, counts.n_active, tokens):.6g}"),
            "schedule": {
                "kind": training.schedule.kind,
                "warmup_steps": warmup,
                "cooldown_steps": (
                    round(training.schedule.cooldown * steps)
                    if training.schedule.kind == "wsd"
                    else 0
                ),
                "final": training.schedule.final,
                "share_trunk": training.schedule.share_trunk,
            },
            "weight_decay": training.weight_decay,
            "beta1": training.beta1,
            "beta2": _beta2(training.beta2, steps),
            "clip": training.clip,
            "precision": training.precision,
            "compile": training.compile,
            # Left out where it is as it was before there was a choice: the run is the same one.
            **({} if training.attention == "stream" else {"attention": training.attention}),
            **({"checkpoint_activations": True} if training.checkpoint_activations else {}),
            **private(study, counts),
        },
        "threads": study.compute.large_threads if large else 1,
        "processes": processes,
        "sharding": study.compute.sharding and processes > 1,
        "seed": seed,
    }


def _warmup(schedule: Any, steps: int, batch_tokens: int, n: int, tokens: float, where: str) -> int:
    """Steps of warm-up. Raises `UserError` where the peak rate would never be reached."""
    if schedule.warmup_tokens is None:
        return math.ceil(schedule.warmup * steps)
    warmup = math.ceil(_value(schedule.warmup_tokens, n, tokens) / batch_tokens)
    cooldown = round(schedule.cooldown * steps) if schedule.kind == "wsd" else 0
    if warmup + cooldown > steps:
        raise UserError(
            f"training.schedule.warmup_tokens: {where} would warm up for {warmup} of its {steps} "
            f"steps and cool down for {cooldown}, expected no more than the run has; lower "
            "warmup_tokens or raise the tokens"
        )
    return warmup


def _beta2(setting: float | str, steps: int) -> float:
    """A number, or for auto an average over 40% of the steps (docs/training.md has the sweep).

    At a fixed D a smaller batch has more steps and so a larger beta2, which it needs (Porian et al.
    2024); a short run is not left with an average that it never fills.
    """
    if not isinstance(setting, str):
        return setting
    return float(f"{min(max(1 - 2.5 / steps, 0.95), 0.999):.4g}")


def _value(setting: Any, n: int, tokens: float) -> float:
    """A number, or a power rule at this size."""
    if isinstance(setting, PowerRule):
        x = n if setting.of == "N" else tokens
        try:
            value = float(setting.value * (x / setting.at) ** setting.exponent)
        except OverflowError:
            value = math.inf
        if not 0 < value < math.inf:
            raise UserError(
                f"training: the power rule {setting.value:g} ({setting.of} / {setting.at:g})^"
                f"{setting.exponent:g} is too {'large' if value else 'small'} to compute at "
                f"{setting.of} = {x:,.0f}"
            )
        return value
    return float(setting)
