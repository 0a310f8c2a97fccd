"""Published laws beside the fitted ones: their constants as printed, scored on the same points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import published
from scalelab.laws.registry import Array
from scalelab.laws.result import predict
from scalelab.laws.runs.points import Points

ALL = "all"
SAME = {"N_total": "N", "C_6ND": "C"}
"""Columns that a published law may take for its own; its convention says what it counts."""
NOTE = (
    "a published law is of its own text and tokenizer: its bias is no judgement of these runs, its "
    "shape error, what is left once one factor is taken out, can be compared with theirs"
)


@dataclass(frozen=True)
class Reference:
    """One published law on the points of a comparison.

    bias_relative: exp of the mean of ln(predicted / observed), less 1. rms_error_relative: root
    mean square of predicted / observed - 1. shape_error: the standard deviation (n - 1) of
    ln(predicted / observed). `reason` says why there are no numbers.
    """

    name: str
    law: str
    convention: str
    source: str
    bias_relative: float | None = None
    rms_error_relative: float | None = None
    shape_error: float | None = None
    places: tuple[int, ...] = ()
    reason: str | None = None

    def at(self, x: Array) -> Array:
        """Its losses (n,) at x (n, m), the columns of the comparison."""
        return predict(published.get(self.name), x[:, list(self.places)])

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {key: value for key, value in vars(self).items() if key != "places"}


def references(names: Sequence[str], points: Points) -> tuple[Reference, ...]:
    """The published laws of these names (`all`: every one of which the points have the columns).

    Raises:
        UserError: an unknown name, or losses that are not in nats.
    """
    wanted = published.names() if list(names) == [ALL] else tuple(names)
    laws = [published.get(name) for name in wanted]
    if laws and points.y != "loss_nats":
        raise UserError(f"published laws are of the loss in nats, found {points.y}")
    found = [_scored(law, points) for law in laws]
    return tuple(one for one in found if one.reason is None or list(names) != [ALL])


def _scored(law: published.PublishedLaw, points: Points) -> Reference:
    ours = [SAME.get(column, column) for column in points.columns]
    told = (law.name, law.law, law.convention, law.source)
    missing = [column for column in law.columns if column not in ours]
    if missing:
        return Reference(*told, reason=f"the points have no {', '.join(missing)}")
    places = tuple(ours.index(column) for column in law.columns)
    off = np.log(Reference(*told, places=places).at(points.x)) - points.log_loss
    return Reference(
        *told,
        bias_relative=float(np.expm1(off.mean())),
        rms_error_relative=float(np.sqrt((np.expm1(off) ** 2).mean())),
        shape_error=float(off.std(ddof=1)) if len(off) > 1 else None,
        places=places,
    )
