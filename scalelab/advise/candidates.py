"""What could be run next, and what it costs: a grid about the study, from its own table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points

PER_DECADE = 8
FURTHER = 10.0
"""How far beyond the largest N and D a grid goes by default."""
RATIO_FURTHER = 4.0
"""How far beyond the study's D/N: a law is not to be trusted at ratios far from those seen."""
SIZES = ("N", "N_total")


@dataclass(frozen=True)
class Candidates:
    """x (m, k) in the order of the law's columns, and training FLOPs (m,).

    ratio (m,): D per N where both are known, else NaN; usual: that of the study's dearest run.
    others: values of N, D and C that go with each, for a law of one column.
    """

    columns: tuple[str, ...]
    x: Array
    flops: Array
    ratio: Array
    usual: float
    others: dict[str, Array]

    def describe(self, place: int) -> str:
        """`N = 1.6e6, D = 2.5e6 (C = 4.1e13)`."""
        names = [*self.columns, *(k for k in self.others if k not in (*self.columns, "C"))]
        values = [*self.x[place], *(self.others[k][place] for k in names[len(self.columns) :])]
        told = ", ".join(f"{k} = {v:.3g}" for k, v in zip(names, values, strict=True))
        return told if "C" in self.columns else f"{told} (C = {self.flops[place]:.3g})"

    def row(self, place: int) -> dict[str, float]:
        """The columns of one candidate with its FLOPs."""
        own = {c: float(v) for c, v in zip(self.columns, self.x[place], strict=True)}
        more = {k: float(v[place]) for k, v in self.others.items()}
        return {**more, **own, "C": float(self.flops[place])}


def given(rows: Sequence, points: Points) -> Candidates:
    """Candidates of the caller, each {column: value} with its FLOPs C (6 N D where not given).

    Raises:
        UserError: no candidates, a missing column, or a value that is no positive number.
    """
    columns = points.columns
    if not len(rows):
        raise UserError("no candidates: expected at least one run to choose from")
    for place, row in enumerate(rows, 1):
        for column in columns:
            if column not in row:
                raise UserError(f"candidate {place}: column {column} is missing")
    x = np.array([[float(row[column]) for column in columns] for row in rows])
    keys = [key for key in ("N", "D", "C") if key not in columns]
    others = {k: np.array([float(r[k]) for r in rows]) for k in keys if all(k in r for r in rows)}
    values = {**{c: x[:, i] for i, c in enumerate(columns)}, **others}
    size = next((c for c in SIZES if c in values), None)
    if "C" in values:
        flops = values["C"]
    elif size and "D" in values:
        flops = 6 * values[size] * values["D"]
    else:
        raise UserError("candidates: C is missing, and N and D do not give it")
    good = np.isfinite(x).all(1) & (x > 0).all(1) & np.isfinite(flops) & (flops > 0)
    if not good.all():
        place = int(np.argmin(good)) + 1
        raise UserError(
            f"candidate {place}: expected positive numbers, found {dict(rows[place - 1])}"
        )
    ratio, usual = _ratios(values, points, size, len(x))
    return Candidates(columns, x, flops, ratio, usual, others)


def _ratios(
    values: dict[str, Array], points: Points, size: str | None, count: int
) -> tuple[Array, float]:
    known = _study_columns(points)
    if size and "D" in values and size in known and "D" in known:
        dearest = int(np.argmax(known[size] * known["D"]))
        return values["D"] / values[size], float(known["D"][dearest] / known[size][dearest])
    return np.full(count, np.nan), np.nan


def _study_columns(points: Points) -> dict[str, Array]:
    """N, N_total, D and C of the points, where every row has them: means over the rows of each."""
    frame, place = points.frame, points.frame["_point"].to_numpy()
    known = {}
    for name in (*SIZES, "D", "C"):
        if name in points.columns:
            known[name] = points.x[:, points.columns.index(name)]
        elif name in frame.columns and frame[name].dtype.kind in "if" and (frame[name] > 0).all():
            values = np.log(frame[name].to_numpy(float))
            known[name] = np.exp(np.bincount(place, values) / np.bincount(place))
    return known


def grid(
    points: Points,
    flops: float,
    max_n: float | None = None,
    max_d: float | None = None,
    sizes: Sequence[float] = (),
) -> Candidates:
    """Runs up to a number of FLOPs: a logarithmic grid of the law's columns, and what was run.

    From the study's smallest N and D to ten times its largest, at ratios D/N up to four times
    beyond its own. FLOPs of a run are 6 N D, or what the table's C says for that size. sizes: the
    only N to take. A law of one column has candidates along it; N, D and C go with it as in the
    study.

    Raises:
        UserError: FLOPs of a run are unknown, or nothing lies within the budget.
    """
    known = _study_columns(points)
    size = next((c for c in points.columns if c in SIZES), None)
    if size and "D" in points.columns:
        found = _two(points, known, size, flops, max_n, max_d, sizes)
    else:
        found = _one(points, known, flops, max_n, max_d, sizes)
    keep = found.flops <= flops * (1 + 1e-9)
    if not keep.any():
        raise UserError(
            f"no run within {flops:.3g} FLOPs: the cheapest candidate costs {found.flops.min():.3g}"
        )
    others = {key: value[keep] for key, value in found.others.items()}
    return Candidates(
        found.columns, found.x[keep], found.flops[keep], found.ratio[keep], found.usual, others
    )


def _steps(low: float, high: float) -> Array:
    count = max(2, 1 + round(PER_DECADE * np.log10(high / low)))
    return np.geomspace(low, high, count)


def _two(
    points: Points,
    known: dict[str, Array],
    size: str,
    flops: float,
    max_n: float | None,
    max_d: float | None,
    sizes: Sequence[float],
) -> Candidates:
    n, d = known[size], known["D"]
    top_n, top_d = max_n or FURTHER * n.max(), max_d or FURTHER * d.max()
    all_n = np.array(sorted(sizes), float)
    if not len(all_n):
        all_n = np.unique(np.append(_steps(n.min(), max(top_n, n.min() * 1.001)), np.unique(n)))
    all_d = np.append(_steps(d.min(), max(top_d, d.min() * 1.001)), np.unique(d))
    pairs = np.stack(np.meshgrid(all_n, all_d, indexing="ij"), -1).reshape(-1, 2)
    # The largest D that the budget allows at each size, so that its edge is in the grid.
    edge = flops / (all_n * _per_nd(known, size, all_n))
    pairs = np.concatenate([pairs, np.column_stack([all_n, edge])])
    if not len(sizes):
        pairs = np.concatenate([pairs, np.column_stack([n, d])])
    pairs = np.unique(pairs, axis=0)
    ratio, seen = pairs[:, 1] / pairs[:, 0], d / n
    fits = (pairs[:, 0] <= top_n * 1.000001) & (pairs[:, 1] <= top_d * 1.000001)
    fits &= pairs[:, 1] >= d.min() * 0.999999
    fits &= (ratio >= seen.min() / RATIO_FURTHER) & (ratio <= seen.max() * RATIO_FURTHER)
    if not fits.any():
        raise UserError(
            "no candidate lies within the limits on N and D at ratios D/N near those of the study"
        )
    pairs, ratio = pairs[fits], ratio[fits]
    x = np.empty((len(pairs), len(points.columns)))
    for place, column in enumerate(points.columns):
        middle = np.exp(np.median(np.log(points.x[:, place])))
        x[:, place] = {size: pairs[:, 0], "D": pairs[:, 1]}.get(column, middle)
    cost = pairs.prod(1) * _per_nd(known, size, pairs[:, 0])
    dearest = int(np.argmax(n * d))
    return Candidates(points.columns, x, cost, ratio, float(d[dearest] / n[dearest]), {})


def _per_nd(known: dict[str, Array], size: str, n: Array) -> Array:
    """FLOPs over N D at sizes (m,): of the table's C, between its sizes by their logs; else 6."""
    if "C" not in known or "D" not in known:
        return np.full(len(n), 6.0)
    logs, values = np.log(known[size]), np.log(known["C"] / (known[size] * known["D"]))
    places, index = np.unique(logs, return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    return np.exp(np.interp(np.log(n), places, means))


def _one(
    points: Points,
    known: dict[str, Array],
    flops: float,
    max_n: float | None,
    max_d: float | None,
    sizes: Sequence[float],
) -> Candidates:
    """Along the first column; the others follow it as powers, as they do in the study."""
    column, own = points.columns[0], points.x[:, 0]
    size = next((c for c in SIZES if c in known), None)
    if "C" not in known and size and "D" in known:
        known = {**known, "C": 6 * known[size] * known["D"]}
    if "C" not in known:
        raise UserError(
            f"FLOPs of a run are unknown: a law of {column} needs a column C, or N and D, beside it"
        )
    top = {"N": max_n, "N_total": max_n, "D": max_d}.get(column) or 100 * own.max()
    values = np.array(sorted(sizes), float)
    if not len(values) or column not in SIZES:
        values = np.unique(np.append(_steps(own.min(), top), own))
    along = {key: _power(own, value, values) for key, value in known.items() if key != column}
    cost = along.get("C", values)
    edge = np.exp(np.interp(np.log(flops), np.log(cost), np.log(values)))
    if not len(sizes) and cost.min() < flops < cost.max():
        values = np.unique(np.append(values, edge))
        along = {key: _power(own, value, values) for key, value in known.items() if key != column}
        cost = along.get("C", values)
    x = np.empty((len(values), len(points.columns)))
    x[:, 0] = values
    for place in range(1, x.shape[1]):
        x[:, place] = np.exp(np.median(np.log(points.x[:, place])))
    blank = np.full(len(values), np.nan)
    return Candidates(points.columns, x, cost, blank, np.nan, along)


def _power(own: Array, other: Array, values: Array) -> Array:
    """Another column at values of the first, by least squares of logs."""
    logs = np.log(own)
    slope, start = np.polyfit(logs - logs.mean(), np.log(other), 1)
    return np.exp(start + slope * (np.log(values) - logs.mean()))
