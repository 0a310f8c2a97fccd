"""Parametric law for text that is read more than once: L = E + A/N'^alpha + B/D'^beta.

Muennighoff et al. 2023 (arXiv:2305.16264), section 3. With U unique tokens of D, of which
U_D = min(U, D) are read, repeated R = D/U_D - 1 times, the tokens count as

    D' = U_D + U_D R_D (1 - exp(-R/R_D))

and so do the parameters, N' from N, R_N and U_N = min(N, N_opt), where N_opt is the size for which
U_D tokens are optimal under the law without repetition: N_opt = G (G U_D)^(beta/alpha) with
G = (alpha A / (beta B))^(1/(alpha+beta)) (Hoffmann et al. 2022, equation 4). R_D and R_N are the
numbers of repetitions after which the worth of one more has fallen by e.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, register
from scalelab.laws.shapes.sums import MAX_EXPONENT
from scalelab.laws.shapes.written import Parameter, WrittenLaw

EXPONENTS = (0.15, 0.3, 0.45, 0.7)
REPEATS_D = (1.0, 5.0, 15.0, 50.0)
REPEATS_N = (0.5, 2.0, 8.0, 50.0)


def _effective(unique: Any, total: Array, worth: Any) -> Any:
    """Worth of `total`, of which `unique` are new and the rest repeat them."""
    return unique * (1 - worth * np.expm1(-((total / unique - 1) / worth)))


def _log_optimal(p: Mapping[str, Any], unique: Array) -> Any:
    """ln of the size for which these unique tokens are optimal."""
    ratio = np.log(p["alpha"]) + np.log(p["A"]) - np.log(p["beta"]) - np.log(p["B"])
    log_g = ratio / (p["alpha"] + p["beta"])
    return log_g + (log_g + np.log(unique)) * (p["beta"] / p["alpha"])


def _effective_both(p: Mapping[str, Any], x: Mapping[str, Array]) -> tuple[Any, Any]:
    """N' and D'."""
    read = np.minimum(x["U"], x["D"])
    unique_n = np.exp(np.minimum(_log_optimal(p, read), np.log(x["N"])))
    return _effective(unique_n, x["N"], p["R_N"]), _effective(read, x["D"], p["R_D"])


def _loss(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    n, d = _effective_both(p, x)
    return (
        p["E"]
        + np.exp(np.log(p["A"]) - p["alpha"] * np.log(n))
        + np.exp(np.log(p["B"]) - p["beta"] * np.log(d))
    )


def _linear(rates: Array, logs: tuple[Array, Array], y: Array) -> Array:
    """E, A, B (S, 3) by relative least squares at exponents `rates` (S, 2), logs (S, n) each."""
    centres = [log.mean(1, keepdims=True) for log in logs]
    basis = np.stack(
        [np.ones_like(logs[0])]
        + [np.exp(-rates[:, k, None] * (logs[k] - centres[k])) for k in range(2)],
        axis=-1,
    )
    basis = basis / y[:, None]
    gram = np.einsum("snp,snq->spq", basis, basis)
    gram += 1e-10 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    linear = np.linalg.solve(gram, basis.sum(1)[..., None])[..., 0]
    linear = np.maximum(linear, 0.01 * y.mean())
    for k in range(2):
        linear[:, 1 + k] *= np.exp(rates[:, k] * centres[k][:, 0])
    return linear


def _guesses(x: Mapping[str, Array], y: Array) -> Array:
    """A grid over exponents and repeats; E, A, B are linear once N' and D' are known."""
    grid = np.array(list(itertools.product(EXPONENTS, EXPONENTS, REPEATS_D, REPEATS_N)))
    rates, worth_d, worth_n = grid[:, :2], grid[:, 2:3], grid[:, 3:]
    n = np.broadcast_to(np.log(x["N"]), (len(grid), len(y)))
    d = np.log(_effective(np.minimum(x["U"], x["D"]), x["D"], worth_d))
    for _ in range(2):
        floor, a, b = _linear(rates, (n, d), y).T[..., None]
        p = {"A": a, "B": b, "alpha": rates[:, :1], "beta": rates[:, 1:]}
        n = np.log(_effective_both(p | {"R_N": worth_n, "R_D": worth_d}, x)[0])
    return np.hstack([floor, a, rates[:, :1], b, rates[:, 1:], worth_d, worth_n])


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    """Unlimited passes over a text are worth this many passes over as much new text."""
    return {"worth_of_endless_repeats": 1 + params["R_D"]}


register(
    WrittenLaw(
        name="data_constrained",
        formula=(
            "L = E + A N'^-alpha + B D'^-beta with D' = {x3} + {x3} R_D (1 - exp(-R/R_D)), "
            "R = {x2}/{x3} - 1, and N' likewise from {x} with R_N"
        ),
        latex=(
            r"L = E + A\,N'^{{-\alpha}} + B\,D'^{{-\beta}},\quad "
            r"D' = {x3} + {x3}\,R_D\left(1 - e^{{-({x2}/{x3} - 1)/R_D}}\right),\quad "
            r"N'\ \mathrm{{likewise\ from}}\ {x}\ \mathrm{{with}}\ R_N"
        ),
        source="Muennighoff et al. 2023 (arXiv:2305.16264), section 3",
        columns=("N", "D", "U"),
        natural=(
            Parameter("E", 0.0),
            Parameter("A", log=True),
            Parameter("alpha", 1e-3, MAX_EXPONENT),
            Parameter("B", log=True),
            Parameter("beta", 1e-3, MAX_EXPONENT),
            Parameter("R_D", 1e-3, 1e6, log=True),
            Parameter("R_N", 1e-3, 1e6, log=True),
        ),
        loss=_loss,
        guesses=_guesses,
        offset="E",
        steady=("U",),
        alternatives=("chinchilla",),
        derive=_derive,
    )
)
