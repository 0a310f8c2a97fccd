"""Which runs an action is about: the options that list, export and prune share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalelab.library import conditions
from scalelab.library.store import Record, Store, as_row, flat, main_evaluation, read


def add_root(parser: argparse.ArgumentParser) -> None:
    """The option --root, which each action has."""
    parser.add_argument(
        "--root", type=Path, default=Path("results"), metavar="DIR", help="default: results"
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Options that choose runs; all must hold."""
    add_root(parser)
    parser.add_argument("--study", metavar="NAME", help="runs that its plan uses")
    parser.add_argument("--status", help="such as ok, diverged, oom, unfinished, damaged")
    parser.add_argument("--unused", action="store_true", help="runs that no plan uses")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="such as 'N>1e5 and lr<=3e-4'; a column of runs.csv or a dotted key of the "
        "specification; may be repeated",
    )
    parser.add_argument(
        "--evaluation",
        metavar="ID",
        help="whose losses to show (default: the study's, or that of most runs)",
    )


def chosen(args: argparse.Namespace) -> tuple[Store, list[tuple[Record, dict[str, Any]]]]:
    """The store, and the runs that meet the options with their rows (see `store.as_row`).

    Rows have the dotted keys of the specification too, such as `training.lr`.
    """
    store = read(args.root)
    wanted = conditions.parse(args.where)
    study = store.study(args.study) if args.study else None
    records = [
        record
        for record in store.records
        if (study is None or record.id in study.runs) and not (args.unused and record.labels)
    ]
    evaluation = args.evaluation or (study.evaluation if study else main_evaluation(records))
    rows = [with_keys(record, as_row(record, evaluation, args.study)) for record in records]
    kept = {row["id"] for row in conditions.select(rows, wanted)}
    pairs = zip(records, rows, strict=True)
    return store, [
        (record, row)
        for record, row in pairs
        if record.id in kept and args.status in (None, record.status)
    ]


def with_keys(record: Record, row: dict[str, Any]) -> dict[str, Any]:
    """A row with the dotted keys of the run's specification behind its columns."""
    return {"id": record.id, **row, **{k: v for k, v in flat(record.spec).items() if k not in row}}


def several_evaluations(pairs: Sequence[tuple[Record, dict[str, Any]]]) -> str | None:
    """A sentence where the losses of these runs were measured in more than one way."""
    shown = sorted({str(row["evaluation"]) for _, row in pairs if row["evaluation"]})
    if len(shown) < 2:
        return None
    return f"losses of several evaluations ({', '.join(shown)}) do not compare: see --evaluation"
