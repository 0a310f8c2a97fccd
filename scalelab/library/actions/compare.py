"""`scalelab runs compare`: in what runs differ, equal keys left out."""

import argparse
import difflib
import json
from collections.abc import Sequence
from typing import Any

from scalelab.errors import UserError
from scalelab.files import canonical
from scalelab.library import choose, show
from scalelab.library.store import Record, Store, as_row, flat, main_evaluation, read

SPECIFIED = (
    *("family", "depth", "width", "heads", "context", "vocab", "lr", "batch_tokens"),
    *("schedule", "seed", "corpus"),
)
"""Columns of a row that its specification has already."""
NAMES = ("id", "label", "labels", "checkpoint")
LEAST_PREFIX = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab runs compare`."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="an id, the beginning of one, or STUDY/LABEL"
    )
    choose.add_root(parser)
    parser.add_argument("--evaluation", metavar="ID", help="whose losses to show")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the differences. Raises `UserError` for a name that is no run, or several."""
    store = read(args.root)
    records = [find(store, name) for name in args.runs]
    if len({record.id for record in records}) < 2:
        raise UserError(f"runs compare: expected two runs or more, found {records[0].id} alone")
    found = differences(records, args.evaluation)
    heads = [record.id for record in records]
    if args.json:
        print(json.dumps({"runs": heads, **found}, indent=1))
        return 0
    for title, keys in found.items():
        if keys:
            rows = [
                {title: key, **dict(zip(heads, cells, strict=True))}
                for key, cells in _shown(keys).items()
            ]
            print(show.table(rows, [title, *heads]) + "\n")
    if not found["specification"]:
        print("their specifications do not differ in what their folders tell")
    return 0


def find(store: Store, name: str) -> Record:
    """The run that a name stands for: an id, a beginning of one, STUDY/LABEL, or a label.

    Raises:
        UserError: none, or several (named).
    """
    exact = [r for r in store.records if r.id == name]
    spelt = [
        r
        for r in store.records
        if any(name in (label, f"{study}/{label}") for study, label in r.labels.items())
    ]
    begun = [r for r in store.records if len(name) >= LEAST_PREFIX and r.id.startswith(name)]
    found = exact or spelt or begun
    if len(found) == 1:
        return found[0]
    if found:
        known = ", ".join(f"{r.id} ({_places(r)})" for r in found[:4])
        raise UserError(f"run {name!r} stands for {len(found)} runs: {known}")
    names = [r.id for r in store.records]
    names += [f"{study}/{label}" for r in store.records for study, label in r.labels.items()]
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    hint = f", did you mean {' or '.join(near)}" if near else ""
    raise UserError(f"run {name!r} is not in {store.root / 'runs'}{hint}")


def differences(
    records: Sequence[Record], evaluation: str | None = None
) -> dict[str, dict[str, list[Any]]]:
    """{specification, result, provenance: {key: a value a run}} of the keys that differ."""
    evaluation = evaluation or main_evaluation(records)
    specs = [flat(record.spec) for record in records]
    rows = [as_row(record, evaluation) for record in records]
    hidden = {*SPECIFIED, *NAMES}
    results = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    made = [flat((record.run or {}).get("provenance", {})) for record in records]
    return {
        "specification": _differing(specs),
        "result": _differing(results),
        "provenance": _differing(
            [{k: v for k, v in m.items() if k != "config_hash"} for m in made]
        ),
    }


def _differing(columns: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = list(dict.fromkeys(key for column in columns for key in column))
    values = {key: [column.get(key) for column in columns] for key in keys}
    return {key: cells for key, cells in values.items() if len({_form(c) for c in cells}) > 1}


def _form(value: Any) -> str:
    return json.dumps(canonical(value), sort_keys=True)


def _shown(keys: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {key: [show.cell(key, value) for value in cells] for key, cells in keys.items()}


def _places(record: Record) -> str:
    return ", ".join(f"{study}/{label}" for study, label in record.labels.items()) or "in no plan"
