"""The privacy budget of a run and the noise that it takes, by Opacus' accountant.

A step sees each sequence with probability q, and adds noise of sigma times the norm to which one
sequence is clipped. Steps compose to an (epsilon, delta) for adding or leaving out one sequence
(Gopi et al. 2021, arXiv:2106.02848: privacy loss of all steps by its distribution; epsilon is the
upper end of what rounding leaves open).
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from scalelab.errors import UserError

ACCOUNTANT = "prv"


@dataclass(frozen=True)
class Budget:
    """What a run of `steps` steps spends."""

    epsilon: float
    """No more than was asked for."""
    delta: float
    noise: float
    """sigma: standard deviation of the noise over `clip`."""
    clip: float
    """Norm to which the gradient of one sequence's mean loss is clipped."""
    rate: float
    """q: probability with which a step sees a sequence."""
    steps: int

    def record(self, context: int) -> dict[str, Any]:
        """What run.json says of it; context: tokens of a sequence."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "noise_multiplier": self.noise,
            "clip": self.clip,
            "sampling_rate": self.rate,
            "steps": self.steps,
            "unit": f"one sequence of {context + 1} tokens of the training text, added or left out",
            "accountant": f"opacus {version('opacus')}, {ACCOUNTANT}",
        }


def budget_of(recipe: Mapping[str, Any], sequences: int, blocks: int) -> Budget | None:
    """The budget of a run whose steps see `sequences` of `blocks` on average; None without one.

    Raises:
        UserError: Opacus is not installed; delta is no less than 1 / blocks, which publishing a
            sequence drawn at random would keep to.
    """
    asked = recipe.get("dp")
    if asked is None:
        return None
    rate = sequences / blocks
    if "noise" in asked:  # a calibration, which spends nothing
        return Budget(math.inf, asked["delta"], asked["noise"], asked["clip"], rate, 0)
    if asked["delta"] * blocks >= 1:
        raise UserError(
            f"training.dp_delta: found {asked['delta']:g}, expected less than 1/{blocks:,}, one "
            "over the sequences of the training text"
        )
    noise, epsilon = _solve(asked["epsilon"], asked["delta"], rate, recipe["steps"])
    return Budget(epsilon, asked["delta"], noise, asked["clip"], rate, recipe["steps"])


def _solve(epsilon: float, delta: float, rate: float, steps: int) -> tuple[float, float]:
    """The least noise multiplier, to a hundredth of epsilon, and the epsilon that it spends."""
    try:
        from opacus.accountants import create_accountant
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise UserError(
            "training.dp_epsilon: needs the package opacus, which cannot be imported; install it "
            "with `pip install 'scalelab[privacy]'`"
        ) from None
    with warnings.catch_warnings():
        # Of logarithms of 0 where a density has no mass, and of the orders by which the accountant
        # chooses how wide its grid is: neither concerns the bound.
        warnings.simplefilter("ignore")
        noise = get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=rate,
            steps=steps,
            accountant=ACCOUNTANT,
            epsilon_tolerance=min(0.01, epsilon / 100),
        )
        accountant = create_accountant(mechanism=ACCOUNTANT)
        accountant.history = [(noise, rate, steps)]
        return float(noise), float(accountant.get_epsilon(delta))
