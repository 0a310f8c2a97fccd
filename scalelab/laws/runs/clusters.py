"""Which points are one piece of evidence: checkpoints of one run, or several D of one size."""

from typing import TYPE_CHECKING

import numpy as np

from scalelab.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

RUN_COLUMNS = ("run_id", "run", "run_name")
FEW_RUNS = 3
SHARED = 2.0
"""Points over distinct sizes from which points count as sharing sizes."""


def clusters(
    frame: "DataFrame", columns: tuple[str, ...], count: int, wanted: str | None
) -> tuple[np.ndarray, str | None]:
    """A cluster number for each of `count` points, and the column that says so, None for none.

    frame has the rows with `_point`. wanted: a column, `none`, or None to decide by the rows: by
    run where runs have several points, else by size where a law of two columns has two or more
    points a size on average.

    Raises:
        UserError: an unknown column, or fewer than three runs or clusters.
    """
    if wanted == "none":
        return np.arange(count), None
    if wanted is not None and wanted not in frame.columns:
        raise UserError(
            f"cluster column {wanted!r} is missing: the table has "
            f"{', '.join(c for c in frame.columns if not c.startswith('_'))}, or none"
        )
    by = wanted or _automatic(frame, columns, count)
    if by is None:
        return np.arange(count), None
    member = _connected(frame, by, count)
    groups = int(member.max()) + 1
    if groups < FEW_RUNS and (by in RUN_COLUMNS or wanted):
        what = "run" if by in RUN_COLUMNS else "cluster"
        why = "the checkpoints of one run" if what == "run" else "the points of one cluster"
        raise UserError(
            f"{len(frame)} rows, {groups} {what}{'s' * (groups > 1)} (column {by}): not enough "
            f"{what}s, since {why} are not independent"
        )
    return member, by


def _automatic(frame: "DataFrame", columns: tuple[str, ...], count: int) -> str | None:
    for name in RUN_COLUMNS:
        known = name in frame.columns and frame[name].notna().all()
        if known and (frame.groupby(name)["_point"].nunique() > 1).any():
            return name
    if len(columns) > 1 and count >= SHARED * frame[columns[0]].nunique():
        return columns[0]
    return None


def _connected(frame: "DataFrame", by: str, count: int) -> np.ndarray:
    """Points that share a value of `by`, directly or through one that does, get one number."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    point = frame["_point"].to_numpy()
    label = np.unique(frame[by].astype(str), return_inverse=True)[1] + count
    size = int(label.max()) + 1
    links = coo_matrix((np.ones(len(point)), (point, label)), shape=(size, size))
    found = connected_components(links, directed=False)[1][:count]
    return np.unique(found, return_inverse=True)[1]
