"""Rows for people: columns side by side, numbers short, bytes in units."""

import csv
import io
from collections.abc import Sequence
from typing import Any

UNITS = ("B", "kB", "MB", "GB", "TB")
RIGHT = (int, float)


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """A header and a line a row; numbers to the right."""
    cells = [[cell(column, row.get(column)) for column in columns] for row in rows]
    right = [any(isinstance(row.get(column), RIGHT) for row in rows) for column in columns]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    lines = []
    for line in [list(columns), *cells]:
        parts = [
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def cell(column: str, value: Any) -> str:
    """One value as text."""
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if column == "bytes":
        return in_units(value)
    if isinstance(value, float):
        return f"{value:.4f}" if "loss" in column or "bits" in column else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:.3e}" if abs(value) >= 10**11 else f"{value:,}"
    return str(value)


def in_units(size: float) -> str:
    """Bytes in decimal units: 1,234,567 is 1.2 MB."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes every size")


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """The rows as CSV: numbers in full, an empty cell for what is not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = [row.get(column) for column in columns]
        writer.writerow([_plain(value) for value in values])
    return out.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return "" if value is None else value
