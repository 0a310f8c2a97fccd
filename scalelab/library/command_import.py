"""The verb `import`: finished runs from elsewhere into a runs.csv."""

import argparse
import sys
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import digest, write_text
from scalelab.laws.runs.headers import listed
from scalelab.laws.runs.table import UNITS
from scalelab.library import conditions, importers, meaning, reading, show

FIRST = ("id", "label", "N", "N_total", "N_embedding", "D", "U", "C", "C_6ND", "steps")
LAST = ("loss_nats", "loss_nats_se", "bits_per_byte", "status", "reason", "loss_from", "source")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab import`."""
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("--out", required=True, type=Path, metavar="CSV")
    names = ", ".join(importers.importers())
    parser.add_argument("--format", help=f"{names} (default: by what the source is)")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="N=params,D=tokens",
        help=f"what columns mean, for those not recognised: {', '.join(meaning.TARGETS)}",
    )
    parser.add_argument(
        "--loss-column",
        metavar="NAME",
        help="default: the one held-out loss, as it was last logged",
    )
    parser.add_argument("--unit", help=f"of the loss: {', '.join(UNITS)}")
    parser.add_argument("--dataset", metavar="NAME", help="what the losses were measured on")
    parser.add_argument("--params", metavar="N", help="non-embedding parameters, of all runs")
    parser.add_argument("--tokens-per-step", metavar="TOKENS", help="D = this times the step")
    parser.add_argument(
        "--where", action="append", default=[], metavar="CONDITION", help="such as 'lr<=3e-4'"
    )
    parser.add_argument("--keep", metavar="A,B", help="columns to keep beside the known settings")
    parser.add_argument(
        "--last", action="store_true", help="the table is a log: one row a run, of its last loss"
    )
    parser.add_argument("--run-column", metavar="NAME", help="that tells the runs of a log apart")
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="STATUS",
        help="runs of this status count as well, such as crashed or unfinished",
    )


def run(args: argparse.Namespace) -> int:
    """Read the sources and write the table. Raises `UserError`, with nothing written."""
    found: list[importers.Found] = []
    kinds: list[importers.Importer] = []
    run_column = (args.run_column or "") if args.last or args.run_column else None
    for path in args.sources:
        kind = importers.get(args.format) if args.format else importers.detect(path)
        if args.format and not path.exists():
            raise UserError(f"{path}: no such file or folder")
        if not kinds or kind is not kinds[-1]:
            kinds.append(kind)
        found += kind.read(path, run_column)
    if len(kinds) > 1:
        names = " and ".join(kind.name for kind in kinds)
        raise UserError(f"sources of several kinds ({names}): import each one alone")
    source = str(args.sources[0]) if len(args.sources) == 1 else f"{len(args.sources)} sources"
    rows, notes = reading.read(found, _options(args, kinds[0]), source)
    write_text(args.out, show.as_csv(_finished(rows), _order(rows)))
    for note in notes:
        print(f"scalelab import: {note}", file=sys.stderr)
    good = sum(row["status"] == "ok" for row in rows)
    rest = f", {len(rows) - good} of them not ok" if good < len(rows) else ""
    loss = rows[0]["loss_from"].split(" at ")[0]
    print(f"{args.out}: {len(rows)} run{'s' * (len(rows) != 1)}{rest}; loss from {loss}")
    return 0


def _options(args: argparse.Namespace, kind: importers.Importer) -> reading.Options:
    columns = dict(_pair(text) for part in args.columns for text in listed(part))
    if args.loss_column:
        if "loss_nats" in columns:
            raise UserError("--loss-column and --columns loss_nats=: expected one of them")
        columns["loss_nats"] = args.loss_column
    if args.unit and args.unit not in UNITS:
        raise UserError(f"--unit: found {args.unit!r}, expected one of {', '.join(UNITS)}")
    return reading.Options(
        columns=columns,
        unit=args.unit,
        default_unit=kind.unit,
        bare_loss=kind.bare_loss,
        needs_tokens=kind.needs_tokens,
        tokens_per_step=_size("--tokens-per-step", args.tokens_per_step),
        params=_size("--params", args.params),
        dataset=args.dataset,
        where=tuple(conditions.parse(args.where)),
        keep=tuple(listed(args.keep or "")),
        accept=tuple(args.accept),
    )


def _pair(text: str) -> tuple[str, str]:
    name, sign, key = text.partition("=")
    if not (name.strip() and sign and key.strip()):
        raise UserError(f"--columns {text!r}: expected pairs such as N=params")
    return name.strip(), key.strip()


def _size(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    value = conditions.number(text)
    if not (isinstance(value, float) and 0 < value < float("inf")):
        raise UserError(f"{option}: found {text!r}, expected a number above 0 such as 125M")
    return value


def _order(rows: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    middle = [name for name in names if name not in (*FIRST, *LAST)]
    return [n for n in FIRST if n in names] + middle + [n for n in LAST if n in names]


def _finished(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with an id each, whole numbers without a point, and C = 6 N D where none was told."""
    out = []
    for row in rows:
        cells = {**row, "id": row["id"] or digest([row["label"], row["source"], row.get("N")])}
        whole = {
            name: int(value)
            for name, value in cells.items()
            if name in FIRST and isinstance(value, float) and value.is_integer()
        }
        out.append(cells | whole)
    return out
