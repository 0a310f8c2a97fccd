"""Joint law in parameters and tokens: L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D.

Kaplan et al. 2020 (arXiv:2001.08361), equation 1.5. It has no floor: L falls to nought as both
grow. Derived quantities are for C = 6 N D: the least L at C has N_opt = G (C/6)^a and
D_opt = (C/6)^b / G with r = alpha_N/alpha_D, a = 1/(1+r), b = r/(1+r) and
G = (r N_c^r / D_c)^a, where the derivative of the bracket along N D = C/6 is nought.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, register
from scalelab.laws.shapes.sums import MAX_EXPONENT
from scalelab.laws.shapes.written import Parameter, WrittenLaw

EXPONENTS = (0.03, 0.06, 0.1, 0.17, 0.3, 0.55, 1.0)


def _loss(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    few_parameters = (np.log(p["N_c"]) - np.log(x["N"])) * (p["alpha_N"] / p["alpha_D"])
    few_tokens = np.log(p["D_c"]) - np.log(x["D"])
    return np.exp(p["alpha_D"] * np.logaddexp(few_parameters, few_tokens))


def _guesses(x: Mapping[str, Array], y: Array) -> Array:
    """A grid over the exponents: L^(1/alpha_D) is linear in N_c^(alpha_N/alpha_D) and in D_c."""
    n, d = np.log(x["N"]), np.log(x["D"])
    n_mean, d_mean = n.mean(), d.mean()
    rows = []
    for alpha_n in EXPONENTS:
        for alpha_d in EXPONENTS:
            ratio, target = alpha_n / alpha_d, np.log(y) / alpha_d
            basis = np.exp(
                np.column_stack([-ratio * (n - n_mean), d_mean - d])
                - (target - target.mean())[:, None]
            )
            linear = np.linalg.lstsq(basis, np.ones(len(y)), rcond=None)[0]
            log_n, log_d = np.log(np.maximum(linear, 1e-3 * linear.max())) + target.mean()
            row = [np.exp(log_n / ratio + n_mean), alpha_n, np.exp(log_d + d_mean), alpha_d]
            rows.append(row)
    return np.array(rows)


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    ratio = params["alpha_N"] / params["alpha_D"]
    log_g = (np.log(ratio) + ratio * np.log(params["N_c"]) - np.log(params["D_c"])) / (1 + ratio)
    return {
        "N_opt_exponent": 1 / (1 + ratio),
        "D_opt_exponent": ratio / (1 + ratio),
        "G": np.exp(log_g),
    }


register(
    WrittenLaw(
        name="kaplan",
        formula="L = [(N_c/{x})^(alpha_N/alpha_D) + D_c/{x2}]^alpha_D",
        latex=(
            r"L = \left[(N_c/{x})^{{\alpha_N/\alpha_D}}"
            r" + D_c/{x2}\right]^{{\alpha_D}}"
        ),
        source="Kaplan et al. 2020 (arXiv:2001.08361), equation 1.5",
        columns=("N", "D"),
        natural=(
            Parameter("N_c", log=True),
            Parameter("alpha_N", 1e-6, MAX_EXPONENT),
            Parameter("D_c", log=True),
            Parameter("alpha_D", 1e-6, MAX_EXPONENT),
        ),
        loss=_loss,
        guesses=_guesses,
        alternatives=("chinchilla",),
        fallback="power",
        derive=_derive,
    )
)
