"""The curves of which the lower envelope is made: training curves, or finished runs by size."""

import functools
import json
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.runs.points import prepare
from scalelab.laws.runs.rows import failed
from scalelab.laws.spent import number, text

if TYPE_CHECKING:
    from pandas import DataFrame

BINS_A_DECADE = 15
"""Means over this many parts of a decade of FLOPs: one line of a curve is the loss of few batches,
and the least of several noisy curves is the luckiest."""


def training_curves(runs: "DataFrame", root: Path | None) -> "DataFrame | None":
    """Rows run, N, D, C, loss_nats of metrics.jsonl of each good run, means over parts of a decade.

    None where no run has a file. The loss is the training loss, nats per token.

    Raises:
        UserError: a line that is not what training writes.
    """
    import pandas as pd

    if root is None or "id" not in runs.columns:
        return None
    rows = []
    for row in runs.to_dict("records"):
        path = root / text(row["id"]) / "metrics.jsonl"
        size = number(row.get("N"))
        if not failed(row.get("status")) and size and path.exists():
            for tokens, flops, loss in _binned(_lines(path)):
                rows.append((text(row["id"]), size, tokens, flops, loss))
    return pd.DataFrame(rows, columns=["run", "N", "D", "C", "loss_nats"]) if rows else None


def finished_runs(runs: "DataFrame", y: str) -> "DataFrame":
    """Rows run, N, D, C, y: the runs of one size, by D, as one curve; seeds averaged.

    Raises:
        UserError: bad rows, or no two sizes with several D.
    """
    import pandas as pd

    points = prepare(runs, ("N", "D"), y, cluster="none")
    table = pd.DataFrame(points.x, columns=["N", "D"])
    table[y] = np.exp(points.log_loss)
    column = next((c for c in ("C", "C_6ND") if c in points.frame.columns), None)
    if column is None:
        table["C"] = 6 * table["N"] * table["D"]
    else:
        cost = pd.to_numeric(points.frame[column], errors="coerce")
        table["C"] = cost.groupby(points.frame["_point"]).mean().to_numpy()
    table["run"] = [f"N = {size:.6g}" for size in table["N"]]
    several = table.groupby("run")["D"].nunique()
    if (several > 1).sum() < 2:
        raise UserError(
            f"{int((several > 1).sum())} of {len(several)} sizes were trained with several D, "
            "expected two or more: finished runs make no curve, and there are no training curves"
        )
    return table[table["run"].map(several) > 1].reset_index(drop=True)


def _lines(path: Path) -> list[tuple[float, float, float]]:
    """(tokens, FLOPs, loss) of each line with positive counts and a finite loss."""
    found = []
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            item: dict[str, Any] = json.loads(line)
            counts = float(item["tokens"]), float(item["flops"])
            loss = number(item["loss_nats"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: line {place}: expected a JSON object with tokens, flops and loss_nats, "
                f"but {type(error).__name__}: {error}"
            ) from None
        if min(counts) > 0 and loss is not None and loss > 0:
            found.append((*counts, loss))
    return found


def _binned(lines: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Geometric means over equal parts of a decade of FLOPs."""
    parts: dict[int, list[tuple[float, ...]]] = {}
    for line in lines:
        part = math.floor(BINS_A_DECADE * math.log10(line[1]))
        parts.setdefault(part, []).append(tuple(math.log(value) for value in line))
    return [
        (math.exp(_mean(tokens)), math.exp(_mean(flops)), math.exp(_mean(loss)))
        for _, rows in sorted(parts.items())
        for tokens, flops, loss in [tuple(zip(*rows, strict=True))]
    ]


def _mean(values: Sequence[float]) -> float:
    """As numpy's over rows, to the last digit, in a tenth of the time for a few values."""
    return functools.reduce(operator.add, values) / len(values)
