"""Error of a task against the loss of the model: Err(L) = epsilon - k exp(-gamma L).

Gadre et al. 2024 (arXiv:2403.08540), equation 5. L is the loss in nats of a text that speaks for
the task, the error is a share (0 to 1; theirs is the mean top-1 error of a set of tasks), epsilon
the error of a model that knows nothing. The error rises with the loss.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.laws.registry import Array, register
from scalelab.laws.shapes.written import Parameter, WrittenLaw

GAMMAS = np.geomspace(0.03, 12.0, 25)
FARTHEST = 100.0
"""Powers of e between which the guesses are made, so that their squares are numbers too."""


def _error(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    return p["epsilon"] - p["k"] * np.exp(-(p["gamma"] * x["loss_nats"]))


def _guesses(x: Mapping[str, Array], y: Array) -> Array:
    """A grid over gamma; epsilon and k by relative least squares, in which they are linear."""
    loss, rows = x["loss_nats"], []
    for gamma in GAMMAS:
        # The power is taken at the mean loss, or k would be without bounds.
        power = np.clip(-gamma * (loss - loss.mean()), -FARTHEST, FARTHEST)
        basis = np.column_stack([np.ones(len(y)), -np.exp(power)])
        epsilon, k = np.linalg.lstsq(basis / y[:, None], np.ones(len(y)), rcond=None)[0]
        k = max(k, 1e-3 * y.mean())
        at_nought = k * np.exp(min(gamma * loss.mean(), FARTHEST))
        rows.append([min(max(epsilon, y.max()), 1.0), at_nought, gamma])
    return np.array(rows)


def _derive(params: Mapping[str, Any]) -> dict[str, Any]:
    """The gap to epsilon is this many times as wide for a tenth of a nat less."""
    return {"gap_ratio_per_tenth_nat": np.exp(0.1 * params["gamma"])}


register(
    WrittenLaw(
        name="downstream",
        formula="Err = epsilon - k exp(-gamma {x})",
        latex=r"\mathrm{{Err}} = \epsilon - k\,e^{{-\gamma {x}}}",
        source="Gadre et al. 2024 (arXiv:2403.08540), equation 5",
        columns=("loss_nats",),
        natural=(
            Parameter("epsilon", 0.0, 1.0),
            Parameter("k", log=True),
            Parameter("gamma", 0.0, 50.0),
        ),
        loss=_error,
        guesses=_guesses,
        rising=True,
        derive=_derive,
    )
)
