"""Power law without a floor: L = A x^-alpha (Kaplan et al. 2020, equations 1.1 to 1.3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import register
from scalelab.laws.shapes.sums import PowerSum


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"loss_ratio_per_tenfold_x": np.exp(-np.log(10.0) * params["alpha"])}


register(
    PowerSum(
        name="power",
        formula="L = A {x}^-alpha",
        latex=r"L = A\,{x}^{{-\alpha}}",
        source="Kaplan et al. 2020 (arXiv:2001.08361), equations 1.1-1.3",
        terms=(("A", "alpha", "N"),),
        alternatives=("power_offset",),
        derive=_derive,
    )
)
