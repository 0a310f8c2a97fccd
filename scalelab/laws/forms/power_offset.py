"""Power law with a floor: L = E + A x^-alpha, E >= 0 (Henighan et al. 2020, equation 1.1)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import register
from scalelab.laws.shapes.sums import PowerSum


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    """The reducible part, L - E, shrinks by this factor for ten times as much x."""
    return {"reducible_ratio_per_tenfold_x": np.exp(-np.log(10.0) * params["alpha"])}


register(
    PowerSum(
        name="power_offset",
        formula="L = E + A {x}^-alpha",
        latex=r"L = E + A\,{x}^{{-\alpha}}",
        source="Henighan et al. 2020 (arXiv:2010.14701), equation 1.1",
        terms=(("A", "alpha", "N"),),
        offset="E",
        alternatives=("power",),
        derive=_derive,
    )
)
