"""Compute frontier: L(C) = E + A C^-alpha over the runs that are best for their compute.

Kaplan et al. 2020 (arXiv:2001.08361), equation 1.3 and section 6, without E; with it Henighan et
al. 2020 (arXiv:2010.14701), equation 1.1. Runs above the frontier would bend the law towards
wasted compute, so they are set aside. The least of several noisy losses is a little low where
runs crowd, so a frontier of few seeds lies below the mean loss of its sizes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, register
from scalelab.laws.shapes.sums import PowerSum


def frontier(x: Array, log_loss: Array) -> np.ndarray:
    """Mask (n,) of the points that no other has beaten with as little x (n, 1).

    Of points alike in both the first stays.
    """
    order = np.lexsort((np.arange(len(log_loss)), log_loss, x[:, 0]))
    least = np.minimum.accumulate(log_loss[order])
    mask = np.zeros(len(log_loss), dtype=bool)
    mask[order] = log_loss[order] < np.concatenate([[np.inf], least[:-1]])
    return mask


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"reducible_ratio_per_tenfold_x": np.exp(-np.log(10.0) * params["alpha"])}


register(
    PowerSum(
        name="compute_frontier",
        formula="L = E + A {x}^-alpha",
        latex=r"L = E + A\,{x}^{{-\alpha}}",
        source="Henighan et al. 2020 (arXiv:2010.14701), equation 1.1, over the best run at each C",
        terms=(("A", "alpha", "C"),),
        offset="E",
        alternatives=("power",),
        derive=_derive,
        select=frontier,
        by_request=True,
    )
)
