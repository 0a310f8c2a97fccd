"""Trunks of warmup-stable-decay: runs that differ in D alone share their steps at constant rate.

Haegele et al. 2024: one run at constant rate, and from it a cooldown for each D. The steps before a
cooldown are the same whatever follows, so a run that takes them from a trunk ends bitwise as it
would alone. `share_trunk` is in its specification all the same: what a job waits for must not
depend on what else is in the study.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.files import canonical_json, digest
from scalelab.plan.identity import result_of, shared_by


@dataclass(frozen=True)
class Trunk:
    """A trunk and where it is branched.

    branches: {run id: steps it takes over}. `spec` is the specification that all have in common,
    and in how many processes the trunk is trained.
    """

    id: str
    spec: dict[str, Any]
    branches: dict[str, int]

    @property
    def ends(self) -> list[int]:
        """Steps after which a state is kept, ascending."""
        return sorted(set(self.branches.values()))

    @property
    def saved_steps(self) -> int:
        """Steps that need not be trained a second time."""
        return sum(self.branches.values()) - max(self.branches.values())


def branch_step(spec: dict[str, Any]) -> int:
    """Steps before the cooldown of a run."""
    training = spec["training"]
    return int(training["steps"] - training["schedule"]["cooldown_steps"])


def common(spec: dict[str, Any]) -> dict[str, Any]:
    """What the runs of a trunk share: a specification at constant rate, without an end."""
    training = spec["training"]
    schedule = {
        "kind": "constant",
        "warmup_steps": training["schedule"]["warmup_steps"],
        "cooldown_steps": 0,
        "final": 0.0,
        "share_trunk": True,
    }
    return {**result_of(spec), "training": {**training, "steps": None, "schedule": schedule}}


def trunks(specs: dict[str, dict[str, Any]]) -> tuple[Trunk, ...]:
    """The trunks of a study, from the specifications of its runs by id.

    A run has one or not by its own specification, not by what else is in the study, so that a study
    that gains runs trains those alone.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for run, spec in specs.items():
        if spec["training"]["schedule"]["share_trunk"]:
            groups[canonical_json(common(spec))].append(run)
    found = []
    for runs in groups.values():
        spec = common(specs[runs[0]])
        shared = shared_by(specs[runs[0]])
        branches = {run: branch_step(specs[run]) for run in runs}
        found.append(Trunk(digest(spec), {**spec, **shared}, branches))
    return tuple(found)


def previous(trunk: Trunk, end: int) -> int:
    """The end before this one; 0 for the first."""
    return max((other for other in trunk.ends if other < end), default=0)


def saved_share(found: Sequence[Trunk], flops: dict[str, tuple[int, int]]) -> float:
    """Share of the FLOPs of all runs that trunks save; flops: {run id: (of the run, of a step)}."""
    total = sum(whole for whole, _ in flops.values())
    saved = sum(one.saved_steps * flops[next(iter(one.branches))][1] for one in found)
    return saved / total if total else 0.0
