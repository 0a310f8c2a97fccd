"""Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): compute again instead of keeping.

Of each block its input is kept; what its gradient needs beside that is computed a second time when
the backward pass gets there. Whole blocks, "full recomputation" of Korthikanti et al. 2022
(arXiv:2205.05198, section 4): a forward pass more of the blocks, so a third more FLOPs of theirs.
"""

import functools
from typing import Any

from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: Any) -> None:
    """Have the blocks of a model, which lie in `model.blocks`, keep their inputs alone.

    Nothing in them is random, so the state of the generators is not kept either.
    """
    for block in model.blocks:
        block.forward = functools.partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )
