"""The learning rate of each step."""

import math
from typing import Any


def learning_rate(step: int, steps: int, peak: float, schedule: dict[str, Any]) -> float:
    """Learning rate of `step` (from 0) of a run of `steps`.

    Linear warm-up, then constant; or a cosine to `final` * peak (Loshchilov and Hutter 2017,
    eq. 5); or warmup-stable-decay with a linear cooldown (Haegele et al. 2024, section 3). The
    last step runs at `final` * peak; where `final` is 0, the decay is stretched by one step, so
    that no step is wasted at a rate of nought.
    """
    warmup, final = schedule["warmup_steps"], schedule["final"]
    if step < warmup:
        return float(peak * (step + 1) / warmup)
    if schedule["kind"] == "cosine":
        done = (step + 1 - warmup) / max(steps - warmup + (final == 0), 1)
        return float(peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))))
    cooldown = schedule["cooldown_steps"]
    left = steps - 1 - step
    if schedule["kind"] == "wsd" and left < cooldown:
        share = (left + (final == 0)) / (cooldown + (final == 0))
        return float(peak * (final + (1 - final) * share))
    return float(peak)
