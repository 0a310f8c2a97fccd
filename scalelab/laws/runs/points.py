"""From rows of runs to the points of a fit: what is kept, what is left out and why."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.runs.cells import Cells, check_runs, choose, stored_cells
from scalelab.laws.runs.clusters import clusters
from scalelab.laws.runs.rows import (
    NAME_COLUMNS,
    check_evaluation,
    check_range,
    check_sizes,
    exclude,
    positive,
    row_names,
)

if TYPE_CHECKING:
    from pandas import DataFrame

CONVENTIONS = {
    "N": "non-embedding parameters",
    "N_active": "active non-embedding parameters",
    "N_total": "all parameters, tied weights once",
    "D": "training tokens",
    "U": "unique training tokens",
    "C": "training FLOPs, counted by layer",
    "C_6ND": "training FLOPs, 6 N D",
    "loss_nats": "held-out loss, nats per token",
}


@dataclass(frozen=True)
class Points:
    """One point per distinct x, sorted by x.

    x (n, m) positive; log_loss (n,) is the mean over the seeds of a point of the natural log of
    loss; seed_sd (n,) the standard deviation of their losses, NaN for one seed. runs holds the
    names of the rows of each point, `frame` the rows that were kept, with the column `_point`.
    cluster (n,) numbers the points that share a run or a size, `clustered_by` is that column.
    weights (n,), mean 1, follow from the noise column where one is given. cells says what was
    done with several rows at one x, `trials` are the rows before that; notes are sentences on
    what was taken for granted.
    """

    columns: tuple[str, ...]
    y: str
    x: Array
    log_loss: Array
    seeds: tuple[int, ...]
    seed_sd: Array
    runs: tuple[tuple[str, ...], ...]
    excluded: tuple[dict[str, str | None], ...]
    duplicates: int
    frame: "DataFrame"
    cluster: np.ndarray
    clustered_by: str | None = None
    weights: Array | None = None
    cells: Cells = field(default_factory=Cells)
    trials: "DataFrame | None" = None
    notes: tuple[str, ...] = ()

    def name(self, place: int) -> str:
        """How to call a point in a message: its size and its runs."""
        size = ", ".join(f"{c} {v:.4g}" for c, v in zip(self.columns, self.x[place], strict=True))
        return f"{'/'.join(self.runs[place])} ({size})"

    def names(self, places: Sequence[int] | np.ndarray, most: int = 6) -> str:
        """Several points in a message, at most `most` by name."""
        text = ", ".join(self.name(int(place)) for place in places[:most])
        return text + (f" and {len(places) - most} more" if len(places) > most else "")


def prepare(
    runs: "DataFrame",
    columns: Sequence[str],
    y: str,
    cluster: str | None = None,
    noise: str | None = None,
    cell: str | None = None,
) -> Points:
    """Check the rows and gather them by size.

    Rows whose status is not ok or whose loss is not finite are left out by name; rows equal in
    every column but their names are counted once. Tokens D that are missing are taken from FLOPs.
    cluster: see `laws.runs.clusters`. noise: a column with the standard error of y, in its unit; a
    point then weighs with the inverse square. cell: what becomes of several rows at one x, see
    `laws.runs.cells`.

    Raises:
        UserError: no rows, a missing column, text or a non-positive number (with the row), rows
            of several corpora or contexts, or losses too large to be nats.
    """
    if len(runs) == 0:
        raise UserError("the table of runs has no rows")
    names = [str(c) for c in runs.columns]
    flops = _flops_for_tokens(columns, names)
    wanted = [*(c for c in columns if c != "D" or not flops), y]
    wanted += [c for c in (flops, noise) if c and c not in wanted]
    for column in wanted:
        if column not in names:
            raise UserError(missing_column(column, names))
    frame = runs.copy()
    frame["_name"], frame["_row"] = row_names(runs), np.arange(len(runs))
    frame, excluded = exclude(frame, y)
    if not len(frame):
        raise UserError(f"no row is left to fit: {len(excluded)} of {len(runs)} were left out")
    for column in wanted:
        frame[column] = positive(frame, column)
    check_range(frame, wanted, y)
    notes = []
    if flops:
        frame["D"] = frame[flops] / (6 * frame[columns[0]])
        notes.append(f"D is not given: D = {flops} / (6 {columns[0]}) is taken for it")
    check_sizes(frame, columns)
    check_evaluation(frame, y)
    measured = [c for c in frame.columns if c not in (*NAME_COLUMNS, "_name", "_row", "line")]
    repeated = frame.duplicated(subset=measured)
    frame = frame[~repeated].sort_values([*columns, y, "_name"], kind="stable")
    frame = frame.reset_index(drop=True)
    x = frame[list(columns)].to_numpy(float)
    frame["_point"] = np.unique(x, axis=0, return_inverse=True)[1].ravel()
    check_runs(frame, cluster)
    kept, cells = choose(frame, columns, y, cell)
    points = _gather(kept, tuple(columns), y, excluded, int(repeated.sum()))
    member, by = clusters(points.frame, points.columns, len(points.x), cluster)
    return dataclasses.replace(
        points,
        cluster=member,
        clustered_by=by,
        weights=_weights(points, noise) if noise else None,
        cells=cells,
        trials=frame,
        notes=tuple(notes),
    )


def _flops_for_tokens(columns: Sequence[str], found: Sequence[str]) -> str | None:
    """The column of FLOPs from which a D that is wanted but missing can be had."""
    if "D" not in columns[1:] or "D" in found or columns[0] not in found:
        return None
    return next((c for c in ("C_6ND", "C") if c in found and c not in columns), None)


def only(points: Points, mask: np.ndarray, reason: str) -> Points:
    """The points of a mask (n,), with a note that says how many were set aside and why."""
    if mask.all():
        return points
    kept = np.flatnonzero(mask)
    frame = points.frame[mask[points.frame["_point"].to_numpy()]].copy()
    frame["_point"] = (np.cumsum(mask) - 1)[frame["_point"].to_numpy()]
    return dataclasses.replace(
        points,
        x=points.x[kept],
        log_loss=points.log_loss[kept],
        seeds=tuple(points.seeds[i] for i in kept),
        seed_sd=points.seed_sd[kept],
        runs=tuple(points.runs[i] for i in kept),
        frame=frame.reset_index(drop=True),
        cluster=np.unique(points.cluster[kept], return_inverse=True)[1],
        weights=None if points.weights is None else points.weights[kept],
        notes=(*points.notes, f"{int((~mask).sum())} of {len(mask)} points set aside: {reason}"),
    )


def _weights(points: Points, noise: str) -> Array:
    """1 / variance of each point's mean log loss (n,), scaled to mean 1."""
    frame = points.frame
    variance = (frame[noise].to_numpy(float) / frame[points.y].to_numpy(float)) ** 2
    place = frame["_point"].to_numpy()
    total = np.bincount(place, variance) / np.bincount(place) ** 2
    return (1 / total) / (1 / total).mean()


def _gather(
    frame: "DataFrame", columns: tuple[str, ...], y: str, excluded: list, duplicates: int
) -> Points:
    point, loss = frame["_point"].to_numpy(), frame[y].to_numpy(float)
    x = np.unique(frame[list(columns)].to_numpy(float), axis=0)
    ends = np.cumsum(np.bincount(point))[:-1]
    groups = np.split(np.argsort(point, kind="stable"), ends)
    names = frame["_name"].tolist()
    return Points(
        columns=columns,
        y=y,
        x=x,
        log_loss=np.array([np.log(loss[g]).mean() for g in groups]),
        seeds=tuple(len(g) for g in groups),
        seed_sd=np.array([loss[g].std(ddof=1) if len(g) > 1 else np.nan for g in groups]),
        runs=tuple(tuple(names[i] for i in g) for g in groups),
        excluded=tuple(excluded),
        duplicates=duplicates,
        frame=frame,
        cluster=np.arange(len(x)),
    )


def stored_points(block: Mapping[str, Any]) -> Points:
    """The points of a fit's JSON, each standing for the runs that it was the mean of."""
    import pandas as pd

    columns = (block["x"],) if isinstance(block["x"], str) else tuple(block["x"])
    rows, y = block["points"], block["y"]
    frame = pd.DataFrame([{c: row[c] for c in (*columns, y)} for row in rows])
    frame["_name"] = ["/".join(row["runs"]) for row in rows]
    frame["_point"] = np.arange(len(rows))
    seed_sd = [row[next(k for k in row if k.startswith("seed_sd_"))] for row in rows]
    weights = [row["weight"] for row in rows] if "weight" in rows[0] else None
    return Points(
        columns=columns,
        y=y,
        x=frame[list(columns)].to_numpy(float),
        log_loss=np.log(frame[y].to_numpy(float)),
        seeds=tuple(int(row["seeds"]) for row in rows),
        seed_sd=np.array([np.nan if v is None else v for v in seed_sd]),
        runs=tuple(tuple(row["runs"]) for row in rows),
        excluded=tuple(block["excluded"]),
        duplicates=0,
        frame=frame,
        cluster=np.array([row["cluster"] for row in rows]),
        clustered_by=block.get("clustered_by"),
        weights=None if weights is None else np.array(weights),
        cells=stored_cells(block),
    )


def missing_column(column: str, found: Sequence[str]) -> str:
    """The sentence for a column that is not there, with the near one."""
    found = [name for name in found if name != "line" and not name.startswith("_")]
    listed = f"the table has {', '.join(found)}"
    if column in ("N", "N_total"):
        bare = [name for name in found if normal_name(name) in BARE_SIZES]
        if bare:
            return (
                f"column {column} is missing, and {bare[0]!r} does not say whether embeddings "
                f"are counted: name it as x (--x {bare[0]}) to fit it as it is"
            )
    if len(column) == 1:
        like = [name for name in found if normal_name(name).startswith(f"{column.lower()}_")]
        if like:
            return f"column {column!r} is missing, did you mean {like[0]!r}: {listed}"
    for meant in (column, *SPELLINGS.get(column, ())):
        cutoff = 0.5 if meant == column else 0.8
        folded = {normal_name(name): name for name in reversed(found)}
        near = difflib.get_close_matches(normal_name(meant), folded, n=1, cutoff=cutoff)
        if near:
            return f"column {column!r} is missing, did you mean {folded[near[0]]!r}: {listed}"
    return f"column {column!r} is missing: {listed}"


BARE_SIZES = ("params", "parameters", "n_params", "num_params", "size", "model_size", "n")
"""Headers of a model's size that do not say what is counted."""
SPELLINGS = {
    "N": ("params", "parameters", "non_embedding_params"),
    "N_total": ("params", "parameters", "total_params"),
    "D": ("tokens", "training_tokens"),
    "C": ("flops", "training_flops"),
    "loss_nats": ("loss", "val_loss", "perplexity"),
}
"""What people call our columns, to find a misspelt one."""


def normal_name(name: str) -> str:
    """A header in lower case with single underscores."""
    plain = str(name).strip().lower()
    for sign in "-_/":
        plain = plain.replace(sign, " ")
    return "_".join(plain.split())
