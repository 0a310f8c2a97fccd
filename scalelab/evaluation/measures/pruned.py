"""What is lost when the smallest weights of a trained model are set to zero, without more training.

Magnitude pruning of the matrices of the blocks: the smallest of each matrix, one share for all (Han
et al. 2015, arXiv:1506.02626), two of each four in a row, a pattern that processors compute (Mishra
et al. 2021, arXiv:2104.08378), and whole inner channels of the MLPs by the norm of what they write
(after Li et al. 2017, arXiv:1608.08710). torch.nn.utils.prune has the first and the last mask.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils import prune

from scalelab.evaluation.measures import Estimate, Subject, mean_of, measure
from scalelab.evaluation.measures._weights import (
    changed,
    matrices,
    put,
    rows_of,
    window_losses,
)

SPARSITIES = (25, 50, 75)
CHANNELS = (12, 25, 50)
"""Percent."""
WRITES = (
    *("mlp.c_proj.weight", "mlp.fc_out.weight", "mlp.down_proj.weight", "experts.down_proj"),
    *("mlp.dense_4h_to_h.weight", "mlp.fc2.weight"),
)
"""Where families keep the matrix from the inner channels of an MLP, (O, inner)."""


@measure
def pruned(subject: Subject) -> Mapping[str, Estimate]:
    """loss_nats of the whole model, and the excess over it (nats/token, paired by window) without
    25, 50 and 75% of the weights of each matrix, without two of each four, and without 12, 25 and
    50% of the inner channels of each MLP, which is missing where a family's MLPs are not known."""
    model = subject.model
    whole = window_losses(subject)
    known = CHANNELS if kept_channels(model, 0.5) else ()
    changes: dict[str, Any] = {
        **{f"weights{share}": lambda s=share: thin(model, s / 100) for share in SPARSITIES},
        "two_of_four": lambda: two_of_four(model),
        **{f"channels{share}": lambda s=share: narrow(model, s / 100) for share in known},
    }
    found = {"loss_nats": mean_of(whole)}
    for name, change in changes.items():
        with changed(model, change):
            found[f"{name}_excess_nats"] = mean_of(window_losses(subject) - whole)
    return found


def thin(model: Any, share: float) -> None:
    """Zero the share of smallest absolute value of each matrix."""
    for name, weight in matrices(model).items():
        rows = rows_of(model, name, weight.detach())
        mask = prune.L1Unstructured(share).compute_mask(rows, torch.ones_like(rows))
        put(model, name, rows * mask)


def two_of_four(model: Any) -> None:
    """Zero the smaller two of each four neighbouring inputs of an output; a rest is kept."""
    for name, weight in matrices(model).items():
        rows = rows_of(model, name, weight.detach()).clone()
        fours = rows[:, : rows.shape[1] // 4 * 4].reshape(rows.shape[0], -1, 4)
        least = fours.abs().topk(2, dim=-1, largest=False).indices
        rows[:, : fours.shape[1] * 4] = fours.scatter(-1, least, 0.0).flatten(1)
        put(model, name, rows)


def narrow(model: Any, share: float) -> None:
    """Zero what the inner channels of least norm write, in each MLP or expert."""
    for name, kept in kept_channels(model, share).items():
        weight = model.get_parameter(name)
        rows = rows_of(model, name, weight.detach())
        each = rows.reshape(len(kept), -1, rows.shape[1])
        put(model, name, (each * kept[:, None]).reshape(rows.shape))


def kept_channels(model: Any, share: float) -> dict[str, torch.Tensor]:
    """Which inner channels stay without the share of least norm: (E, inner) of each matrix that
    writes, E being its experts, or 1."""
    found = {}
    for name, weight in matrices(model).items():
        if name.endswith(WRITES):
            rows = rows_of(model, name, weight.detach())
            experts = weight.shape[0] if weight.ndim == 3 else 1
            each = rows.reshape(experts, -1, rows.shape[1])
            cut = prune.LnStructured(share, n=2, dim=-1)
            masks = [cut.compute_mask(one, torch.ones_like(one)) for one in each]
            found[name] = torch.stack(masks)[:, 0] > 0
    return found
