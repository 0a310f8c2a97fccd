"""Checks of the rows of a table and of what became of them: one line a check, with names."""

from typing import Any

import numpy as np

from scalelab.laws.registry import Array
from scalelab.laws.runs.cells import EARLIER, NOT_BEST, SHORTER, SPREAD
from scalelab.laws.runs.points import Points
from scalelab.laws.runs.rows import SAME_EVALUATION


def line(check: str, ok: bool, message: str) -> dict[str, Any]:
    """One check as it is stored and printed."""
    return {"check": check, "ok": bool(ok), "message": message}


def count_rows(count: int) -> str:
    """`1 row repeats`, `2 rows repeat`."""
    return "1 row repeats" if count == 1 else f"{count} rows repeat"


def few(names: Any, most: int = 6) -> str:
    """At most `most` names, and how many more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def numbers(points: Points, column: str) -> Array | None:
    """A column of the rows that were kept, if it is there and all finite numbers."""
    if column not in points.frame.columns or points.frame[column].dtype.kind not in "if":
        return None
    values = points.frame[column].to_numpy(float)
    return values if np.isfinite(values).all() else None


def at(points: Points, rows: Any) -> str:
    """Names of the points that hold those rows."""
    return points.names(sorted({int(p) for p in points.frame["_point"].to_numpy()[rows]}))


def embedding(points: Points) -> dict[str, Any] | None:
    """Sizes that are mostly embeddings: the exponent then depends on how N is counted."""
    total, inside = numbers(points, "N_total"), numbers(points, "N_embedding")
    if inside is None and numbers(points, "N") is not None and total is not None:
        inside = total - points.frame["N"].to_numpy(float)
    if total is None or inside is None:
        return None
    heavy = inside / total > 0.5
    if not heavy.any():
        return line("embedding share", True, "embeddings are under half of every size")
    return line(
        "embedding share",
        False,
        f"embeddings are over half of {at(points, heavy)}: the exponent depends on whether "
        "they are counted",
    )


def evaluation(points: Points) -> dict[str, Any]:
    """Rows of several tokenizers or texts are refused before; here is what that rests on."""
    known = [c for c in SAME_EVALUATION if c in points.frame.columns]
    text = f"every row has the same {', '.join(known)}"
    if not known:
        text = "no column names tokenizer or text: rows are taken to share them"
    return line("evaluation", True, text)


def duplicates(points: Points) -> dict[str, Any]:
    """Rows that are equal in all but their names."""
    count = points.duplicates
    text = f"{count_rows(count)} another, counted once" if count else "no repeated rows"
    return line("duplicates", count == 0, text)


def excluded(points: Points) -> dict[str, Any]:
    """Runs that failed."""
    out = [f"{row['label']} ({row['reason']})" for row in points.excluded]
    if not out:
        return line("excluded", True, "no run was left out")
    return line("excluded", False, f"{len(out)} left out: {few(out)}")


def cells(points: Points) -> dict[str, Any]:
    """What became of several rows at one x."""
    found, told = points.cells, []
    for reason, names in found.aside.items():
        why = ""
        if reason == NOT_BEST and found.by:
            why = f", which differ in {few(found.by)}"
        elif reason == NOT_BEST and found.guessed:
            why = (
                f", since no column tells them apart and their losses differ by over {SPREAD:.0%} "
                "(cell mean averages them)"
            )
        rows = "1 row" if len(names) == 1 else f"{len(names)} rows"
        told.append(f"{rows} {reason} ({few(names)}){why}")
    if found.averaged:
        several = found.averaged
        told.append(
            f"{several} point{'s are means' if several > 1 else ' is the mean'} of several rows"
        )
    calm = not {NOT_BEST, EARLIER, SHORTER} & set(found.aside)
    return line("rows per point", calm, "; ".join(told) or "one row at each x")
