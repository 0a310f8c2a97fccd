"""Parametric law in parameters and tokens: L(N, D) = E + A/N^alpha + B/D^beta.

Hoffmann et al. 2022 (arXiv:2203.15556), equation 2. Derived quantities are those of their
equation 4: for C = 6 N D, N_opt = G (C/6)^a and D_opt = (C/6)^b / G with
G = (alpha A / (beta B))^(1/(alpha+beta)), a = beta/(alpha+beta), b = alpha/(alpha+beta).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import register
from scalelab.laws.shapes.sums import PowerSum


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    alpha, beta = params["alpha"], params["beta"]
    log_ratio = np.log(alpha) + np.log(params["A"]) - np.log(beta) - np.log(params["B"])
    return {
        "N_opt_exponent": beta / (alpha + beta),
        "D_opt_exponent": alpha / (alpha + beta),
        "G": np.exp(log_ratio / (alpha + beta)),
    }


register(
    PowerSum(
        name="chinchilla",
        formula="L = E + A {x}^-alpha + B {x2}^-beta",
        latex=r"L = E + A\,{x}^{{-\alpha}} + B\,{x2}^{{-\beta}}",
        source="Hoffmann et al. 2022 (arXiv:2203.15556), equation 2",
        terms=(("A", "alpha", "N"), ("B", "beta", "D")),
        offset="E",
        fallback="power_offset",
        derive=_derive,
    )
)
