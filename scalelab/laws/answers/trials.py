"""A sweep by size: the mean loss at each value of an axis, everything else at its best."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.runs.cells import SETTINGS
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.rows import check_evaluation, exclude, failed, positive, row_names
from scalelab.laws.spent import number, text

if TYPE_CHECKING:
    from pandas import DataFrame

COMPARED = {
    "context": ("context", "eval_context", "eval_stride"),
    "vocab": ("vocab", "corpus", "tokenizer", "eval_text_sha256"),
}
"""Columns that change with an axis and so do not make the losses of its values incomparable."""
HELD = {"vocab": ("D", "C")}
"""Columns of which one is equal in the trials of an axis; D alone for others."""
SHAPES = ("depth", "width", "heads")
NEAR = {"shape": 0.1, "other": 0.02}
"""Sizes this near are one: a shape of a given size is met only to the nearest width."""
SAME_TOKENS = 0.1
TRIALS = (*(name for name in SETTINGS if name not in ("N", "N_total")), "context", "vocab")


@dataclass(frozen=True)
class Size:
    """The trials of one size (and D), by the axis.

    n, d: geometric means of the runs; spread: largest over smallest N, less one. x (k,) the values
    of the axis in rising order; log_y (k,) the mean ln y of the best other setting at each;
    seeds (k,) the runs in it; at (k) that other setting, by column. failed: values of the axis at
    which no run ended well. scatter: squared deviations of ln y among seeds, and their degrees of
    freedom.
    """

    n: float
    d: float
    spread: float
    x: Array
    log_y: Array
    seeds: Array
    at: tuple[dict[str, Any], ...]
    failed: tuple[float, ...]
    scatter: tuple[float, int]
    open_at: tuple[str, ...]
    """Other settings whose value at the best point is at an end of their own sweep."""


def part_of(runs: "DataFrame", where: Any) -> "DataFrame":
    """The rows whose columns have these values; all of them without any (None).

    Raises:
        UserError: no mapping, a column or a value that is not there.
    """
    if where is None:
        return runs
    if not isinstance(where, Mapping):
        raise UserError(f"where is {where!r}: expected columns and their values")
    for column, value in where.items():
        if column not in runs:
            raise UserError(
                f"where: {missing_column(column, [str(name) for name in runs.columns])}"
            )
        found = runs[column].map(text)
        if not (found == text(value)).any():
            known = ", ".join(sorted(set(found))[:6])
            raise UserError(f"where: no run has {value!r} in the column {column}, found {known}")
        runs = runs[found == text(value)]
    return runs


def sizes_of(runs: "DataFrame", axis: str, y: str, tolerance: float | None = None) -> list[Size]:
    """The trials of each size, by N and D (or C).

    Raises:
        UserError: a missing column, bad numbers, no run that ended well, losses that do not
            compare along the axis.
    """
    names = [str(name) for name in runs.columns]
    for column in ("N", axis, y):
        if column not in names:
            raise UserError(missing_column(column, names))
    if axis == "vocab" and y.endswith("_nats"):
        raise UserError(
            f"y is {y}: losses per token do not compare across vocabularies, expected bits_per_byte"
        )
    frame = runs.copy()
    frame["_name"] = row_names(runs)
    kept, excluded = exclude(frame, y)
    if not len(kept):
        raise UserError(f"no run of {len(frame)} ended well: {excluded[0]['reason']}")
    for column in ("N", axis, y):
        kept[column] = positive(kept, column)
    check_evaluation(kept.drop(columns=[c for c in COMPARED.get(axis, ()) if c in kept]), y)
    lost = [row for row in frame.to_dict("records") if failed(row.get("status"))]
    near = NEAR["shape" if axis in SHAPES else "other"] if tolerance is None else tolerance
    rows: list[dict[Any, Any]] = list(kept.to_dict("records"))
    found = []
    for by_n in _near(rows, "N", near):
        # Runs are compared at one D, or where the axis changes the cost of a token at one C.
        held = [column for column in HELD.get(axis, ("D",)) if column in names]
        ways = [_near(by_n, column, SAME_TOKENS) for column in held]
        for group in min(ways, key=len, default=[by_n]):
            found.append(_size(group, _lost_here(lost, group, near), axis, y))
    return found


def _near(rows: list[dict[Any, Any]], column: str, tolerance: float) -> list[list[dict[Any, Any]]]:
    """Rows in groups whose values lie within the tolerance of their smallest."""
    groups: list[list[dict[Any, Any]]] = []
    for row in sorted(rows, key=lambda row: (number(row[column]) or 0.0, str(row["_name"]))):
        first = number(groups[-1][0][column]) if groups else None
        if first is not None and (number(row[column]) or 0.0) <= first * (1 + tolerance):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _lost_here(
    lost: Sequence[dict[Any, Any]], group: list[dict[Any, Any]], near: float
) -> list[dict[Any, Any]]:
    """Failed runs of the sizes of a group; what they had seen of D says nothing."""
    sizes = [float(row["N"]) for row in group]
    low, high = min(sizes) / (1 + near), max(sizes) * (1 + near)
    return [row for row in lost if low <= (number(row.get("N")) or 0.0) <= high]


def _size(rows: list[dict[Any, Any]], lost: Sequence[dict[Any, Any]], axis: str, y: str) -> Size:
    columns = [name for name in TRIALS if name != axis and name in rows[0]]
    trials: dict[tuple[float, tuple[str, ...]], list[dict[Any, Any]]] = {}
    for row in rows:
        key = (float(row[axis]), tuple(text(row[name]) for name in columns))
        trials.setdefault(key, []).append(row)
    means = {key: float(np.mean([np.log(row[y]) for row in part])) for key, part in trials.items()}
    square = sum(
        float(sum((np.log(row[y]) - means[key]) ** 2 for row in part))
        for key, part in trials.items()
    )
    values = sorted({value for value, _ in trials})
    best = {
        value: min((key for key in trials if key[0] == value), key=lambda key: (means[key], key))
        for value in values
    }
    sizes = np.array([float(row["N"]) for row in rows])
    tokens = [value for row in rows if (value := number(row.get("D")))]
    differing = _crossed(columns, trials)
    bad = {v for row in lost if (v := number(row.get(axis))) is not None and v > 0}
    log_y = np.array([means[best[value]] for value in values])
    winner = best[values[int(np.argmin(log_y))]]
    return Size(
        n=float(np.exp(np.log(sizes).mean())),
        d=float(np.exp(np.log(tokens).mean())) if tokens else 0.0,
        spread=float(sizes.max() / sizes.min() - 1),
        x=np.array(values),
        log_y=log_y,
        seeds=np.array([len(trials[best[value]]) for value in values], float),
        at=tuple({name: trials[best[value]][0][name] for name in differing} for value in values),
        failed=tuple(sorted(bad - set(values))),
        scatter=(square, len(rows) - len(trials)),
        open_at=tuple(_at_an_end(differing, columns, trials, winner)),
    )


def _crossed(columns: Sequence[str], trials: Any) -> list[str]:
    """Columns that take several values at one value of the axis: they are profiled out."""
    by_value: dict[float, list[tuple[str, ...]]] = {}
    for value, rest in trials:
        by_value.setdefault(value, []).append(rest)
    return [
        name
        for place, name in enumerate(columns)
        if any(len({rest[place] for rest in part}) > 1 for part in by_value.values())
    ]


def _at_an_end(differing: Sequence[str], columns: Sequence[str], trials: Any, best: Any) -> Any:
    for name in differing:
        place = columns.index(name)
        values = [number(rest[place]) for _, rest in trials]
        known = sorted({value for value in values if value is not None})
        if len(known) > 2 and number(best[1][place]) in (known[0], known[-1]):
            yield name


def step_beyond(x: Array, high: bool) -> float:
    """The next value of a sweep beyond one of its ends, one more step of its last two."""
    end, near = (x[-1], x[-2]) if high else (x[0], x[1])
    return float(end * end / near)


def basin(x: Array, log_y: Array, least: float, share: float) -> list[float | None]:
    """The range of the axis whose loss is within `share` of the least (ln of it); None for an end
    at which the sweep stops before that.

    Between points the root of the excess of ln loss is taken as straight in ln x, which is exact
    where the basin is a parabola.
    """
    u, top = np.log(x), np.sqrt(np.log1p(share))
    root = np.sqrt(np.maximum(log_y - least, 0.0))
    best = int(np.argmin(log_y))

    def crossing(order: list[int]) -> float | None:
        for a, b in itertools.pairwise(order):
            if root[b] > top:
                part = (top - root[a]) / (root[b] - root[a])
                return float(np.exp(u[a] + max(part, 0.0) * (u[b] - u[a])))
        return None

    return [crossing(list(range(best, -1, -1))), crossing(list(range(best, len(x))))]
