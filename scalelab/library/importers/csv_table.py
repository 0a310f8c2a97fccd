"""Any table with one row a run, or a table of logs with one row a step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.laws.runs.clusters import RUN_COLUMNS
from scalelab.laws.runs.rows import NAME_COLUMNS, failed
from scalelab.laws.runs.table import read_rows
from scalelab.library.importers import Found, Importer
from scalelab.library.importers.wandb_csv import is_export

Row = dict[str, Any]


def detects(path: Path) -> bool:
    """A file of text in columns that is no export of W&B."""
    return (
        path.suffix.lower() in (".csv", ".tsv", ".txt") and path.is_file() and not is_export(path)
    )


def read(path: Path, run_column: str | None) -> Iterator[Found]:
    """A run a row, or a run a value of the run column with its rows as its history."""
    header, rows, lines = read_rows(path)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    if run_column is None:
        for row, line in zip(table, lines, strict=True):
            name = next((row[c] for c in NAME_COLUMNS if row.get(c)), f"line {line}")
            yield _found(path, name, row, config=row)
        return
    column = run_column or next((c for c in (*RUN_COLUMNS, *NAME_COLUMNS) if c in header), None)
    if column is None or column not in header:
        raise UserError(
            f"{path}: no column tells the runs apart: name it with --run-column (there are "
            f"{', '.join(header)})"
        )
    runs: dict[str, list[Row]] = {}
    for row, line in zip(table, lines, strict=True):
        if not row[column]:
            raise UserError(f"{path}, line {line}: column {column!r} is empty, expected a run")
        runs.setdefault(row[column], []).append(row)
    for name, own in runs.items():
        same = {key: own[0][key] for key in header if len({row[key] for row in own}) == 1}
        yield _found(path, name, own[-1], config=same, history=tuple(own), identity=name)


def _found(path: Path, name: str, last: Row, **more: Any) -> Found:
    status = last.get("status") or "ok"
    reason = last.get("reason") or None
    return Found(
        name, f"{path}: {name}", status=status if failed(status) else "ok", reason=reason, **more
    )


IMPORTER = Importer("csv", "a table, .csv or .tsv", detects, read, bare_loss=True)
