"""A design: which x are to be run and how often, as the points that a fit would make of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.advise.prior import Prior
from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points, prepare
from scalelab.laws.uncertainty.intervals import choose

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Design:
    """The points x (n, m) of a fit, the rows behind each (n,), and how intervals are to be had.

    points are those of a fit to losses on the law; member (n,) numbers the clusters; method is
    the one of `laws.fit` by default: profile, or robust.
    """

    points: Points
    counts: Array
    member: np.ndarray
    clustered_by: str | None
    method: str

    @property
    def x(self) -> Array:
        """Points (n, m), sorted."""
        return self.points.x

    @property
    def runs(self) -> int:
        """Rows of the design."""
        return int(self.counts.sum())


def design(rows: Any, law: Prior) -> Design:
    """Gather the rows of a design as `laws.fit` gathers runs: seeds of one x are one point.

    rows: a table, a list of {column: value} or {column: values} with the columns of the law;
    rows of one x are its seeds. Other columns are left aside.

    Raises:
        UserError: no rows, a missing column, or a value that is no positive number.
    """
    import pandas as pd

    table = pd.DataFrame(rows if hasattr(rows, "keys") else list(rows))
    columns = law.form.columns
    if not len(table):
        raise UserError("the design has no runs")
    for column in columns:
        if column not in table.columns:
            raise UserError(
                f"design: column {column} is missing: {law.law} needs {', '.join(columns)}"
            )
    try:
        x = table[list(columns)].to_numpy(float)
    except (TypeError, ValueError) as error:
        raise UserError(f"design: {error}: expected numbers") from None
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise UserError(f"design: {', '.join(columns)} must be positive and finite")
    frame = pd.DataFrame(x, columns=list(columns))
    frame["loss"] = np.exp(law.log_loss(x))
    frame["seed"] = frame.groupby(list(columns)).cumcount()
    points = prepare(frame, columns, "loss", cell="mean")
    member = np.unique(points.cluster, return_inverse=True)[1]
    method = choose(points.clustered_by is not None, int(member.max()) + 1, "least_squares")
    return Design(points, np.array(points.seeds, float), member, points.clustered_by, method)
