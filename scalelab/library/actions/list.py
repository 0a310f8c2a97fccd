"""`scalelab runs list`: what runs there are, one line each."""

import argparse
import json
import sys
from typing import Any

from scalelab.errors import UserError
from scalelab.library import choose, show
from scalelab.library.conditions import known
from scalelab.library.store import Store

COLUMNS = ("id", "labels", "N", "D", "C", "loss_nats", "status", "seconds", "bytes", "studies")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab runs list`."""
    choose.add_filters(parser)
    parser.add_argument("--sort", default="N", metavar="COLUMN", help="default: N")
    parser.add_argument("--reverse", action="store_true", help="largest first")
    parser.add_argument("--columns", metavar="A,B", help=f"default: {','.join(COLUMNS)}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="as CSV, numbers in full")
    form.add_argument("--json", action="store_true", help="as JSON, a list of rows")


def run(args: argparse.Namespace) -> int:
    """Print the runs. Raises `UserError` for a column that is not known."""
    store, pairs = choose.chosen(args)
    rows = [row for _, row in pairs]
    columns = [name.strip() for name in (args.columns or ",".join(COLUMNS)).split(",")]
    columns = [name for name in columns if name]
    if not columns:
        raise UserError(f"--columns {args.columns!r}: expected names such as {','.join(COLUMNS)}")
    if rows:
        present = list(dict.fromkeys([*(key for row in rows for key in row), *COLUMNS]))
        for name in columns if args.columns else ():
            known(name, present, "--columns")
        rows = ordered(rows, args.sort, args.reverse, present)
    if args.json:
        print(json.dumps([{c: row.get(c) for c in columns} for row in rows], indent=1))
    elif args.csv:
        print(show.as_csv(rows, columns), end="")
    else:
        if rows:
            print(show.table(rows, columns))
        print(("\n" if rows else "") + footer(store, rows, args.study))
    if note := choose.several_evaluations(pairs):
        print(f"scalelab runs: {note}", file=sys.stderr)
    return 0


def ordered(
    rows: list[dict[str, Any]], name: str, down: bool, columns: list[str]
) -> list[dict[str, Any]]:
    """Rows by a column, empty cells last."""
    known(name, columns, "--sort")
    filled = [row for row in rows if row.get(name) not in (None, ())]
    text = any(isinstance(row[name], (str, tuple)) for row in filled)
    filled.sort(key=lambda row: str(row[name]) if text else row[name], reverse=down)
    return filled + [row for row in rows if row.get(name) in (None, ())]


def footer(store: Store, rows: list[dict[str, Any]], study: str | None) -> str:
    """How many runs, how much disk; of a study also how many of its runs are not there."""
    counts = f"{len(rows)} run{'s' * (len(rows) != 1)}"
    shared = sum(len(row["studies"]) > 1 for row in rows)
    unused = sum(not row["studies"] for row in rows)
    parts = [
        f"{counts}, {show.in_units(sum(row['bytes'] for row in rows))}",
        *([f"{shared} shared by studies"] if shared else []),
        *([f"{unused} in no plan"] if unused else []),
    ]
    if study:
        planned = store.study(study).runs
        absent = len(set(planned) - {record.id for record in store.records})
        parts += [f"{absent} of the study's {len(planned)} not begun"] if absent else []
    return ", ".join(parts)
