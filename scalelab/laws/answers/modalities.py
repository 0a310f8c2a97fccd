"""A law for each kind of sequence: text in bits per byte, images in bits per pixel, and so on.

Losses of different kinds are different quantities. Each kind has a law of its own, with a floor, an
offset and an exponent, and only what has no unit is compared: exponents, and the share of the loss
that is left above the floor (Henighan et al. 2020, equation 1.1 and table 1).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.answers.by_axis import CURVE, alone, floor_of, pairs, tuned_alike
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.estimation.joint import Group, Joint, joint
from scalelab.laws.runs.points import CONVENTIONS, missing_column, prepare
from scalelab.laws.spent import spent, text

X, Y = "N", "bits_per_byte"
"""With one byte a symbol, bits per byte are bits per symbol."""


@answer(required=("axis", "units"), settings=("level",))
def modalities(material: Material, settings: Mapping[str, Any]) -> Block:
    """The law of each kind of sequence and the differences of their exponents to the first.

    settings: axis, a column of runs.csv; units, the unit of the loss of each of its values, in the
    order to tell them in; level of the intervals.

    Raises:
        UserError: a missing column, fewer than two kinds with sizes enough, bad settings or rows.
    """
    runs, axis = material.runs, str(settings["axis"])
    units, level = settings["units"], float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    if not isinstance(units, Mapping):
        raise UserError(f"units is {units!r}: expected the unit of each {axis}")
    for name in (axis, X, Y):
        if name not in runs.columns:
            raise UserError(missing_column(name, [str(column) for column in runs.columns]))
    tables = {str(kind): runs[runs[axis].map(text) == str(kind)] for kind in units}
    groups, left_out = [], []
    for kind, table in tables.items():
        try:
            points = prepare(table, (X,), Y)
        except UserError as error:
            left_out.append(f"{axis} {kind} is left out: {error}")
            continue
        groups.append(Group(kind, points.x[:, 0], points.log_loss))
    together = joint(groups, "floors")
    return {
        "axis": axis,
        "x": X,
        "convention": CONVENTIONS[X],
        "y": Y,
        "level": level,
        "reference": groups[0].value,
        "at": together.at,
        "dof": together.dof,
        "sigma_log": float(np.sqrt(together.rss / together.dof)),
        "interval_method": "least squares of the log loss, a law for each, Student's t",
        "values": [
            {
                "unit": units[group.value],
                **alone(tables[group.value], group, X, Y, level),
                **_law(together, place, group, level),
            }
            for place, group in enumerate(groups)
        ],
        "cost": spent(runs.to_dict("records")),
        "warnings": [*left_out, *_warnings(tables, together, groups)],
    }


def _law(together: Joint, place: int, group: Group, level: float) -> dict[str, Any]:
    """Floor and exponent of a kind, its exponent less that of the first, and its curve.

    above_floor: share of the loss of the largest size that is not the floor.
    """
    exponent = together.exponents[place]
    floor = floor_of(together, place, level)
    largest = float(np.exp(group.log_loss[np.argmax(group.x)]))
    moved = together.one(exponent) - together.one(together.exponents[0])
    x = np.geomspace(group.x.min(), group.x.max(), CURVE)
    return {
        "floor": floor,
        "exponent": list(together.interval(together.one(exponent), level)),
        "exponent_difference": list(together.interval(moved, level)) if place else None,
        "smallest": float(np.exp(group.log_loss[np.argmin(group.x)])),
        "largest": largest,
        "above_floor": 1 - float(floor[0] or 0.0) / largest,
        "points": pairs(group.x, np.exp(group.log_loss)),
        "curve": pairs(x, together.predict(place, x)),
    }


def _warnings(tables: Mapping[str, Any], together: Joint, groups: list[Group]) -> list[str]:
    told = [
        f"the floor of {group.value} is at its bound 0: the data do not show one, and its exponent "
        "is that of a law without it"
        for place, group in zip(together.floors, groups, strict=True)
        if not together.covariance[place, place]
    ]
    return told + tuned_alike(tables)
