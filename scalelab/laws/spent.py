"""What a table of runs took together; steps that several runs share (a trunk) count once."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def number(value: Any) -> float | None:
    """A cell as a finite number, else None."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def text(value: Any) -> str:
    """A cell as text; empty for one that is missing."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def own_shares(rows: Sequence[Mapping[Any, Any]]) -> list[float]:
    """For each row, the part of its steps that no other row of the table is charged with.

    Of the runs of a trunk, the one that takes most of its steps is charged with all of them.
    """

    def rank(place: int) -> tuple[float, str, int]:
        row = rows[place]
        return -(number(row.get("trunk_steps")) or 0), text(row.get("id")), place

    charged: set[str] = set()
    shares = [1.0] * len(rows)
    for place in sorted(range(len(rows)), key=rank):
        row = rows[place]
        trunk, steps = text(row.get("trunk")), number(row.get("steps"))
        taken = (number(row.get("trunk_steps")) or 0) / steps if steps and trunk else 0.0
        if trunk in charged:
            shares[place] = 1 - min(taken, 1.0)
        if trunk:
            charged.add(trunk)
    return shares


def spent(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Sums over all runs, those that failed included: runs, flops, seconds, core_hours, tokens.

    core_hours: seconds x threads x processes / 3600, None where a run does not say its threads;
    a sum is None where no run has the column.
    """

    def total(column: str) -> float | None:
        values = [number(row.get(column)) for row in rows]
        if all(value is None for value in values):
            return None
        return sum((v or 0.0) * share for v, share in zip(values, shares, strict=True))

    shares = own_shares(rows)
    timed = [row for row in rows if number(row.get("seconds"))]
    core_hours = None
    if timed and all(number(row.get("threads")) for row in timed):
        core_hours = sum(
            (number(row.get("seconds")) or 0)
            * (number(row.get("threads")) or 0)
            * (number(row.get("processes")) or 1)
            * share
            / 3600
            for row, share in zip(rows, shares, strict=True)
        )
    return {
        "runs": len(rows),
        "flops": total("C"),
        "seconds": total("seconds"),
        "core_hours": core_hours,
        "tokens": total("D"),
    }
