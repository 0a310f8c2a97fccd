"""From rows of runs to the points of a fit: what is kept, what is left out and why."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array

if TYPE_CHECKING:
    from pandas import DataFrame

NAME_COLUMNS = ("label", "run", "name", "id")
SAME_EVALUATION = ("corpus", "context", "eval_context", "tokenizer")
LARGEST_LOSS_NATS = 25.0
"""ln of a vocabulary of 7e10: no mean loss in nats of a model that learned anything."""
CONVENTIONS = {
    "N": "non-embedding parameters",
    "N_total": "all parameters, tied weights once",
    "D": "training tokens",
    "C": "training FLOPs, counted by layer",
    "C_6ND": "training FLOPs, 6 N D",
}


@dataclass(frozen=True)
class Points:
    """One point per distinct x, sorted by x.

    x (n, m) positive; log_loss (n,) is the mean over the seeds of a point of the natural log of
    loss; seed_sd (n,) the standard deviation of their losses, NaN for one seed. runs holds the
    names of the rows of each point, `frame` the rows that were kept, with the column `_point`.
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

    def name(self, place: int) -> str:
        """How to call a point in a message: its size and its runs."""
        size = ", ".join(f"{c} {v:.4g}" for c, v in zip(self.columns, self.x[place], strict=True))
        return f"{'/'.join(self.runs[place])} ({size})"

    def names(self, places: Sequence[int] | np.ndarray, most: int = 6) -> str:
        """Several points in a message, at most `most` by name."""
        text = ", ".join(self.name(int(place)) for place in places[:most])
        return text + (f" and {len(places) - most} more" if len(places) > most else "")


def prepare(runs: "DataFrame", columns: Sequence[str], y: str) -> Points:
    """Check the rows and gather them by size.

    Rows whose status is not ok or whose loss is not finite are left out by name; rows equal in
    every column but their names are counted once.

    Raises:
        UserError: no rows, a missing column, text or a non-positive number (with the row), rows
            of several corpora or contexts, or losses too large to be nats.
    """
    if len(runs) == 0:
        raise UserError("the table of runs has no rows")
    for column in (*columns, y):
        if column not in runs.columns:
            raise UserError(missing_column(column, [str(c) for c in runs.columns]))
    frame = runs.copy()
    frame["_name"] = row_names(runs)
    frame, excluded = _exclude(frame, y)
    if not len(frame):
        raise UserError(f"no row is left to fit: {len(excluded)} of {len(runs)} were left out")
    for column in (*columns, y):
        frame[column] = _positive(frame, column)
    _same_evaluation(frame, y)
    if y.endswith("_nats") and float(frame[y].median()) > LARGEST_LOSS_NATS:
        raise UserError(
            f"column {y} holds values such as {frame[y].iloc[0]:g}, too large for a loss in "
            "nats: give perplexity as the unit if that is what it holds"
        )
    measured = [c for c in frame.columns if c not in (*NAME_COLUMNS, "_name", "line")]
    repeated = frame.duplicated(subset=measured)
    frame = frame[~repeated].sort_values([*columns, y, "_name"], kind="stable")
    frame = frame.reset_index(drop=True)
    return _gather(frame, tuple(columns), y, excluded, int(repeated.sum()))


def _gather(
    frame: "DataFrame", columns: tuple[str, ...], y: str, excluded: list, duplicates: int
) -> Points:
    x, point = np.unique(frame[list(columns)].to_numpy(float), axis=0, return_inverse=True)
    frame["_point"] = point = point.ravel()
    loss = frame[y].to_numpy(float)
    groups = [np.flatnonzero(point == place) for place in range(len(x))]
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
    )


def row_names(runs: "DataFrame") -> list[str]:
    """A name for each row: its label, run, name or id, else its number counted from 1."""
    for column in NAME_COLUMNS:
        if column in runs.columns and runs[column].notna().all():
            return [str(value) for value in runs[column]]
    return [f"row {number + 1}" for number in range(len(runs))]


def missing_column(column: str, found: Sequence[str]) -> str:
    """The sentence for a column that is not there, with the near one."""
    if column in ("N", "N_total"):
        bare = [name for name in found if normal_name(name) in BARE_SIZES]
        if bare:
            return (
                f"column {column} is missing, and {bare[0]!r} does not say whether embeddings "
                f"are counted: name it as x (--x {bare[0]}) to fit it as it is"
            )
    if len(column) == 1:
        like = [name for name in found if normal_name(name).startswith(f"{column.lower()}_")]
        hint = f", did you mean {like[0]!r}" if like else ""
        return f"column {column!r} is missing{hint}: the table has {', '.join(found)}"
    folded = {name.casefold(): name for name in found}
    near = difflib.get_close_matches(column.casefold(), folded, n=1, cutoff=0.5)
    hint = f", did you mean {folded[near[0]]!r}" if near else ""
    return f"column {column!r} is missing{hint}: the table has {', '.join(found)}"


BARE_SIZES = ("params", "parameters", "n_params", "num_params", "size", "model_size", "n")
"""Headers of a model's size that do not say what is counted."""


def normal_name(name: str) -> str:
    """A header in lower case with single underscores."""
    return "_".join(str(name).strip().lower().replace("-", " ").replace("_", " ").split())


def _exclude(frame: "DataFrame", y: str) -> tuple["DataFrame", list[dict[str, str | None]]]:
    keep, excluded = [], []
    for place, (_, row) in enumerate(frame.iterrows()):
        reason = _reason(row, y)
        if reason is None:
            keep.append(place)
            continue
        identity = row.get("id")
        excluded.append(
            {
                "id": None if identity is None else str(identity),
                "label": str(row["_name"]),
                "reason": reason,
            }
        )
    return frame.iloc[keep].copy(), excluded


def _reason(row: Any, y: str) -> str | None:
    status = row.get("status")
    if isinstance(status, str) and status.strip() and status.strip().lower() != "ok":
        why = row.get("reason")
        return f"{status}: {why}" if isinstance(why, str) and why else str(status)
    loss = row[y]
    if loss is None or (isinstance(loss, (float, np.floating)) and not np.isfinite(loss)):
        return f"{y} is {loss}"
    return None


def _positive(frame: "DataFrame", column: str) -> Array:
    values = np.empty(len(frame))
    for place, (value, name) in enumerate(zip(frame[column], frame["_name"], strict=True)):
        number = value if isinstance(value, (int, float, np.number)) else None
        if isinstance(value, (bool, np.bool_)) or number is None or not np.isfinite(number):
            raise UserError(f"{name}, column {column}: found {value!r}, expected a number")
        if number <= 0:
            raise UserError(f"{name}, column {column}: found {value!r}, expected more than 0")
        values[place] = float(number)
    return values


def _same_evaluation(frame: "DataFrame", y: str) -> None:
    across = ("vocab",) if y == "loss_nats" else ()
    for column in (*SAME_EVALUATION, *across):
        if column not in frame.columns:
            continue
        values = sorted({str(value) for value in frame[column].dropna()})
        if len(values) > 1:
            raise UserError(
                f"rows differ in {column} ({', '.join(values[:4])}), so their losses do not "
                "compare: fit each one alone"
            )
