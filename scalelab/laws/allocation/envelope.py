"""The lower envelope of training curves: at each number of FLOPs, the run with the least loss.

Hoffmann et al. 2022 (arXiv:2203.15556), section 3.1, "Approach 1": loss against FLOPs of every run
is interpolated, and at 1500 log-spaced FLOPs the best run gives N_opt and D_opt. Neighbouring
FLOPs share a run, so 1500 of them are not 1500 pieces of evidence: here each model size on the
envelope is one point of the regression, at the geometric mean of the FLOPs where it is best.

A loss read before the end of a run is one at a learning rate that has not decayed yet, unless the
schedule is constant; Hoffmann et al. train each size with several horizons for that reason.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.allocation.exponents import Frontier, describe, frontier
from scalelab.laws.allocation.isoflop import with_flops
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import CONVENTIONS, missing_column, prepare

if TYPE_CHECKING:
    from pandas import DataFrame

COUNT = 1500
FEW = 5
SEEN = "tokens_seen"
RUN_COLUMNS = ("run_id", "run", "run_name", "id", "label", "name")


@dataclass(frozen=True)
class Envelope:
    """flops, n, d, loss (k,) and run (k,) along the envelope; the frontier through its sizes."""

    flops: Array
    n: Array
    d: Array
    loss: Array
    run: tuple[str, ...]
    runs: int
    frontier: Frontier
    convention: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON; the envelope itself at its first and last FLOPs a run."""
        ends = np.flatnonzero([a != b for a, b in zip(self.run[1:], self.run[:-1], strict=True)])
        starts, stops = [0, *(ends + 1)], [*ends, len(self.run) - 1]
        return {
            "approach": "envelope",
            "source": "Hoffmann et al. 2022 (arXiv:2203.15556), section 3.1",
            "convention": self.convention,
            "runs": self.runs,
            "envelope": [
                {
                    "run": self.run[a],
                    "N": float(self.n[a]),
                    "from_flops": float(self.flops[a]),
                    "to_flops": float(self.flops[b]),
                    "from_loss": float(self.loss[a]),
                    "to_loss": float(self.loss[b]),
                }
                for a, b in zip(starts, stops, strict=True)
            ],
            **self.frontier.to_json(),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """A few lines for a terminal."""
        block = self.to_json()
        lines = [
            f"lower envelope of {self.runs} training curves; {self.convention}",
            f"{len(set(self.run))} runs of {len(np.unique(self.n))} sizes make it",
            describe(block["N_opt"], "N_opt"),
            describe(block["D_opt"], "D_opt"),
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def envelope(
    curves: "DataFrame",
    n: str = "N",
    y: str = "loss_nats",
    run: str | None = None,
    flops: str | None = None,
    count: int = COUNT,
    level: float = 0.95,
) -> Envelope:
    """Fit several rows per run: its size n, what it had seen (D, or FLOPs) and its loss y there.

    Args:
        curves: the rows in any order; runs that failed are left out as in `laws.fit`.
        run: the column that names the run; a usual one by default.
        flops: the column of FLOPs up to that row: C, else C_6ND, else 6 N D by default.
        count: log-spaced FLOPs of the envelope.

    Raises:
        UserError: bad rows, no curves, or fewer than two sizes between the smallest and the
            largest on the envelope.
    """
    if count < 10:
        raise UserError(f"count is {count}: expected 10 or more FLOPs along the envelope")
    run = _run_column(curves, run)
    table, source = with_flops(curves, n, flops)
    # A curve starts at a few tokens; in a table of runs such a D beside millions is a mixed unit.
    table = table.rename(columns={"D": SEEN})
    columns = (n, SEEN, source) if SEEN in table.columns else (n, source)
    frame = prepare(table, columns, y, cluster="none", cell="mean").frame
    names, sizes, logs = [], [], []
    for name, rows in frame.groupby(run, sort=True):
        size = rows[n].to_numpy(float)
        if len(np.unique(size)) > 1:
            raise UserError(f"run {name}, column {n}: found {size.min():g} and {size.max():g}")
        cost = rows[source].to_numpy(float)
        tokens = rows[SEEN].to_numpy(float) if len(columns) == 3 else cost / (6 * size)
        names.append(str(name))
        sizes.append(float(size[0]))
        logs.append(_means(np.log(cost), np.log(tokens), np.log(rows[y].to_numpy(float))))
    n_runs = np.array(sizes)
    grid = np.linspace(min(c[0] for c, _, _ in logs), max(c[-1] for c, _, _ in logs), count)
    losses = np.array([np.interp(grid, c, v, np.inf, np.inf) for c, _, v in logs])
    if np.isinf(losses).all(0).any():
        gap = np.exp(grid[int(np.argmax(np.isinf(losses).all(0)))])
        raise UserError(f"no run has a loss at {gap:.3g} FLOPs, between the curves of others")
    best = np.argmin(losses, axis=0)
    along = np.arange(count)
    tokens = np.array([np.interp(grid[i], logs[b][0], logs[b][1]) for i, b in enumerate(best)])
    n_best = n_runs[best]
    kept = _inner(n_best, n_runs)
    parts = [n_best == size for size in kept]
    values = losses[best, along]
    return Envelope(
        flops=np.exp(grid),
        n=n_best,
        d=np.exp(tokens),
        loss=np.exp(values),
        run=tuple(names[b] for b in best),
        runs=len(names),
        frontier=frontier(
            [float(np.exp(grid[p].mean())) for p in parts],
            kept,
            [float(np.exp(tokens[p].mean())) for p in parts],
            [float(np.exp(np.interp(grid[p].mean(), grid, values))) for p in parts],
            None,
            level,
        ),
        convention=f"N: {_convention(n)}; C: {_convention(source)}",
        warnings=tuple(_warnings(best, n_runs, len(kept), grid, [c[-1] for c, _, _ in logs])),
    )


def _convention(column: str) -> str:
    return CONVENTIONS.get(column, f"column {column!r}")


def _run_column(curves: "DataFrame", run: str | None) -> str:
    found = [str(name) for name in curves.columns]
    if run is not None:
        if run not in found:
            raise UserError(missing_column(run, found))
        return run
    for name in RUN_COLUMNS:
        if name in found and curves[name].duplicated().any():
            return name
    raise UserError(
        "no training curves: expected a column such as run with several rows for each run, and "
        f"the table has {', '.join(found)}"
    )


def _means(cost: Array, tokens: Array, loss: Array) -> tuple[Array, Array, Array]:
    """One row of a curve for each distinct FLOPs, in rising order; all in logs."""
    distinct, place, count = np.unique(cost, return_inverse=True, return_counts=True)
    return distinct, np.bincount(place, tokens) / count, np.bincount(place, loss) / count


def _inner(n_best: Array, n_runs: Array) -> Array:
    """Sizes on the envelope whose ranges are whole: not the smallest and the largest of all, and
    where two others remain not those at its first and last FLOPs, beyond which nothing was run.
    """
    found = np.unique(n_best)
    kept = found[(found > n_runs.min()) & (found < n_runs.max())]
    whole = kept[(kept != n_best[0]) & (kept != n_best[-1])]
    if len(kept) < 2:
        raise UserError(
            f"{len(found)} of {len(np.unique(n_runs))} sizes make the envelope and {len(kept)} of "
            "them lie between the smallest and the largest, expected two or more: add sizes, or "
            "longer runs"
        )
    return whole if len(whole) >= 2 else kept


def _warnings(
    best: np.ndarray, n_runs: Array, kept: int, grid: Array, last: list[float]
) -> list[str]:
    warnings = []
    found = np.unique(n_runs[best])
    if kept < FEW:
        warnings.append(f"{kept} sizes carry the exponents, few for an interval")
    for end, size in (("low", n_runs.min()), ("high", n_runs.max())):
        if size in found:
            which = "smallest" if end == "low" else "largest"
            warnings.append(
                f"the {end} end of the envelope is the {which} size, {size:.4g}, which is best "
                "there for want of others: it is left out of the exponents"
            )
    step = grid[1] - grid[0]
    turns = np.flatnonzero(best[1:] != best[:-1])
    short = {float(n_runs[best[i]]) for i in turns if last[best[i]] < grid[i] + step}
    if short:
        named = ", ".join(f"{size:.4g}" for size in sorted(short))
        warnings.append(
            f"curves of size {named} end on the envelope: longer runs would move its corners"
        )
    return warnings
