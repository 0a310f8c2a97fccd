"""Which weights of a model are compressed, and what the model loses by it.

The matrices of the blocks: everything with two dimensions or more but the embeddings of tokens and
positions, the head (which may be the embedding itself) and the routers of experts, which are small
and decide much. What is left stands in 16 bits. A matrix is seen as (O, I), outputs and inputs, for
experts (E * O, I): Conv1D of GPT-2 keeps them the other way round.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from scalelab.evaluation.measures import Subject, batches, logits_of, losses_of

KEPT_BYTES = 2
"""Of a number that is not compressed: fp16."""


def matrices(model: Any) -> dict[str, torch.nn.Parameter]:
    """The matrices of the blocks by name."""
    modules = dict(model.named_modules())
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    found = {}
    for name, weight in model.named_parameters():
        owner = modules[name.rpartition(".")[0]]
        kept = isinstance(owner, torch.nn.Embedding) or type(owner).__name__.endswith("Router")
        if weight.ndim > 1 and not kept and owner not in ends:
            found[name] = weight
    return found


def transposed(model: Any, name: str) -> bool:
    """Whether the matrix of that name is stored as (I, O)."""
    return type(model.get_submodule(name.rpartition(".")[0])).__name__ == "Conv1D"


def rows_of(model: Any, name: str, weight: torch.Tensor) -> torch.Tensor:
    """A matrix as (O, I), or experts (E, O, I) as (E * O, I), contiguous."""
    rows = weight.t() if transposed(model, name) else weight
    return rows.reshape(-1, rows.shape[-1]).contiguous()


def put(model: Any, name: str, rows: torch.Tensor) -> None:
    """Write (O, I) back to where the matrix stands."""
    weight = model.get_parameter(name)
    with torch.no_grad():
        weight.copy_(rows.t() if transposed(model, name) else rows.reshape(weight.shape))


@contextmanager
def changed(model: Any, change: Callable[[], None]) -> Iterator[None]:
    """All weights as they were once the block ends."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    change()
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(before[name])


def window_losses(subject: Subject) -> np.ndarray:
    """Mean nats per token of each window, (W,)."""
    return np.concatenate(
        [
            losses_of(logits_of(subject, batch[:, :-1]).logits, batch[:, 1:]).mean(axis=1)
            for batch in batches(subject.windows)
        ]
    )


def halve(model: Any) -> None:
    """Round every weight to fp16; products stay in fp32."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())


def count(model: Any) -> tuple[int, int]:
    """Numbers in the matrices of the blocks, and all others (a tied head counts once)."""
    inside = sum(weight.numel() for weight in matrices(model).values())
    return inside, sum(weight.numel() for weight in model.parameters()) - inside
