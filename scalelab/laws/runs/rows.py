"""Which rows of a table can be fitted, and the sentence for each that cannot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import measure_of, of_set, set_of
from scalelab.laws.registry import Array

if TYPE_CHECKING:
    from pandas import DataFrame

NAME_COLUMNS = ("label", "run", "name", "id")
GOOD_STATUS = ("", "ok", "finished", "completed", "complete", "done", "success")
SAME_EVALUATION = (
    *("corpus", "dataset", "tokenizer", "context", "eval_context"),
    *("eval_split", "eval_stride", "eval_bos", "eval_text_sha256", "quantity"),
)
TEXT = "text_sha256"
"""Of the tokens that were scored: another tokenizer gives others for the same text."""
ACROSS_TOKENIZERS = "bits_per_byte"
"""The y that compares models of several tokenizers."""
LARGEST_LOSS_NATS = 13.0
"""ln of a vocabulary of 440,000: guessing alone is better than this in nats."""
SMALLEST, LARGEST = 1e-100, 1e100
"""Beyond these, squares and products of what is counted or lost leave the range of a float."""
MOST_SPAN = 1e12
"""Largest loss over the smallest: beyond it the sum of a law and its floor has no digits left."""
SWAPPED = 10.0
"""Parameters per token above which no one trains: N and D have changed places."""


def row_names(runs: "DataFrame") -> list[str]:
    """A name for each row: its label, run, name or id, else its number counted from 1."""
    for column in NAME_COLUMNS:
        if column in runs.columns and runs[column].notna().all():
            return [str(value) for value in runs[column]]
    return [f"row {number + 1}" for number in range(len(runs))]


def failed(status: Any) -> bool:
    """Whether a run's status says that it did not end well."""
    return isinstance(status, str) and status.strip().lower() not in GOOD_STATUS


def exclude(frame: "DataFrame", y: str) -> tuple["DataFrame", list[dict[str, str | None]]]:
    """The rows that can be used, and {id, label, reason} of each that failed or has no loss."""

    def column(name: str) -> list[Any]:
        return frame[name].tolist() if name in frame.columns else [None] * len(frame)

    cells = (column(name) for name in ("status", "reason", y, "id", "_name"))
    keep, excluded = [], []
    for place, (status, why, loss, identity, name) in enumerate(zip(*cells, strict=True)):
        reason = _reason(status, why, y, loss)
        if reason is None:
            keep.append(place)
            continue
        excluded.append(
            {
                "id": None if identity is None else str(identity),
                "label": str(name),
                "reason": reason,
            }
        )
    return frame.iloc[keep].copy(), excluded


def _reason(status: Any, why: Any, y: str, loss: Any) -> str | None:
    if failed(status):
        return f"{status}: {why}" if isinstance(why, str) and why else str(status)
    if loss is None or (isinstance(loss, (float, np.floating)) and not np.isfinite(loss)):
        return f"{y} is {loss}"
    return None


def positive(frame: "DataFrame", column: str) -> Array:
    """A column (n,) of finite numbers above 0; `UserError` with the row for anything else."""
    if frame[column].dtype.kind in "if":
        known = frame[column].to_numpy(float)
        if (np.isfinite(known) & (known > 0)).all():
            return known.copy()
    values = np.empty(len(frame))
    for place, (value, name) in enumerate(zip(frame[column], frame["_name"], strict=True)):
        number = value if isinstance(value, (int, float, np.number)) else None
        if isinstance(value, (bool, np.bool_)) or number is None or not np.isfinite(number):
            raise UserError(f"{name}, column {column}: found {value!r}, expected a number")
        if number <= 0:
            raise UserError(f"{name}, column {column}: found {value!r}, expected more than 0")
        values[place] = float(number)
    return values


def check_range(frame: "DataFrame", columns: Sequence[str], y: str) -> None:
    """Numbers that a float can compute with, in columns of finite ones above 0."""
    for column in columns:
        values = frame[column].to_numpy(float)
        outside = np.flatnonzero((values < SMALLEST) | (values > LARGEST))
        if len(outside):
            place = int(outside[0])
            raise UserError(
                f"{frame['_name'].iloc[place]}, column {column}: found {values[place]:g}, expected "
                f"a number between {SMALLEST:g} and {LARGEST:g}"
            )
    values = frame[y].to_numpy(float)
    if values.max() > MOST_SPAN * values.min():
        least, most = (frame["_name"].iloc[int(at(values))] for at in (np.argmin, np.argmax))
        raise UserError(
            f"column {y} goes from {values.min():g} ({least}) to {values.max():g} ({most}): "
            f"expected losses within a factor of {MOST_SPAN:g}"
        )


def check_evaluation(frame: "DataFrame", y: str) -> None:
    """Losses of another tokenizer, text or window do not compare; nor do perplexities."""
    measure, name = measure_of(y), set_of(y)
    text = of_set(name, TEXT) if name else f"eval_{TEXT}"
    columns = {*SAME_EVALUATION} - {f"eval_{TEXT}"} | {text}
    if measure == ACROSS_TOKENIZERS:
        columns -= {"tokenizer", text}
    elif measure == "loss_nats":
        columns.add("vocab")
    for column in (name for name in frame.columns if name in columns):
        values = sorted({str(value) for value in frame[column].dropna()})
        if len(values) > 1:
            raise UserError(
                f"rows differ in {column} ({', '.join(values[:4])}), so their losses do not "
                "compare: fit each one alone"
            )
    if y.endswith("_nats") and float(frame[y].median()) > LARGEST_LOSS_NATS:
        raise UserError(
            f"column {y} holds values such as {frame[y].iloc[0]:g}, too large for a loss in "
            "nats: give perplexity as the unit if that is what it holds"
        )


def check_sizes(frame: "DataFrame", columns: Sequence[str]) -> None:
    """Sizes in mixed units, and N and D that have changed places."""
    for column in columns:
        values = frame[column].to_numpy(float)
        small = int(np.argmin(values))
        if column in ("N", "N_total", "D") and values[small] < 1e3 and values.max() > 1e6:
            raise UserError(
                f"{frame['_name'].iloc[small]}, column {column}: found {values[small]:g} beside "
                f"{values.max():g}: units seem mixed (write 70M or 70e6, not 70)"
            )
    if len(columns) > 1 and columns[0] in ("N", "N_total") and columns[1] == "D":
        sizes, tokens = frame[columns[0]].to_numpy(float), frame["D"].to_numpy(float)
        if (sizes > SWAPPED * tokens).all():
            raise UserError(
                f"{columns[0]} is over {SWAPPED:g} times D in every row ({sizes[0]:.3g} and "
                f"{tokens[0]:.3g} in {frame['_name'].iloc[0]}): N and D seem swapped"
            )
