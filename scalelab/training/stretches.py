"""By how many processes and threads each part of a run was trained.

A run may go on with other numbers than it began with: sums are then rounded in another order, so
only runs of one stretch are equal to the bit.
"""

import torch

from scalelab.training.distributed import World

Stretch = dict[str, int]


def from_here(step: int, world: World) -> Stretch:
    """What trains from a step on."""
    return {"from_step": step, "processes": world.size, "threads": torch.get_num_threads()}


def continued(before: list[Stretch], here: Stretch) -> list[Stretch]:
    """The stretches of a run that goes on here; one more where the numbers are others."""
    same = all(before[-1][key] == here[key] for key in ("processes", "threads"))
    return [*before] if same else [*before, here]


def change(before: list[Stretch], after: list[Stretch]) -> str:
    """`, by 1 process of 1 thread in place of 2 processes of 1 thread`, or nothing."""
    if len(before) == len(after):
        return ""
    return f", by {_in_words(after[-1])} in place of {_in_words(before[-1])}"


def _in_words(one: Stretch) -> str:
    processes = f"{one['processes']} process" + ("es" if one["processes"] > 1 else "")
    return f"{processes} of {one['threads']} thread" + ("s" if one["threads"] > 1 else "")
