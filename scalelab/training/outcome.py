"""How a run ended."""

from dataclasses import dataclass, field
from typing import Any

from scalelab.training import paths
from scalelab.training.budget import Budget
from scalelab.training.stretches import Stretch


@dataclass
class Outcome:
    """How a run ended."""

    status: str
    """ok, diverged or oom."""
    reason: str | None
    """A sentence for statuses other than ok."""
    steps: int
    """Optimiser steps done."""
    seconds: float
    """Time in the loop, over all resumes."""
    path: paths.ComputePath
    """Precision, and how gradients were computed."""
    micro: int
    """Sequences of one forward pass at the end."""
    records: list[dict[str, Any]]
    """Lines of metrics."""
    checkpoint_bytes: int
    """Size of the last resume state; 0 when none was needed."""
    resumed_from: list[int] = field(default_factory=list)
    """Steps at which the run was taken up again."""
    branched_at: int | None = None
    """Steps that were taken over from a trunk."""
    stretches: list[Stretch] = field(default_factory=list)
    """From which step on how many processes of how many threads trained it."""
    budget: Budget | None = None
    """What the whole run spends of privacy, where it has a budget."""
