"""The verb `compare`: which law to believe on a table of runs, and a prediction over them all."""

import argparse
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.files import file_sha256, write_json
from scalelab.laws import registry
from scalelab.laws.command import add_table_arguments, naming, read_table
from scalelab.laws.command_predict import parse_at
from scalelab.laws.judgement.candidates import wide_form
from scalelab.laws.judgement.comparison import Comparison
from scalelab.laws.judgement.references import ALL
from scalelab.laws.judgement.select import compare
from scalelab.laws.result import unit_of
from scalelab.laws.runs import headers
from scalelab.laws.runs.table import ours
from scalelab.provenance import manifest

if TYPE_CHECKING:
    from pandas import DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab compare`."""
    parser.add_argument("runs", metavar="RUNS.csv", help="one row per finished run")
    parser.add_argument(
        "--laws", metavar="A,B", help="laws to compare (default: all of the same x columns)"
    )
    add_table_arguments(parser)
    parser.add_argument(
        "--at", action="append", default=[], metavar="N=70e9,D=1.4e12", help="may be repeated"
    )
    parser.add_argument(
        "--published", metavar="A,B", help=f"laws from papers to score as well: {ALL}, or names"
    )
    parser.add_argument("--json", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Compare, print, write the JSON; bad input raises `UserError`, nothing written."""
    laws = headers.listed(args.laws) if args.laws else None
    if laws == []:
        raise UserError(
            f"--laws {args.laws}: expected names such as {','.join(registry.discover())}"
        )
    with naming(args.runs):
        runs, keywords = _table(args, laws)
        found = compare(runs, laws, **keywords, published=headers.listed(args.published or ""))
    x = parse_at(args.at, found.points.columns)
    asked = found.predictions(x) if len(x) else []
    print(found.summary())
    for row in asked:
        print(_line(row, found))
    if args.json:
        settings = {k: v for k, v in vars(args).items() if v is None or isinstance(v, (str, float))}
        made = manifest({**settings, "at": args.at}, file_sha256(args.runs)[:12])
        write_json(args.json, {**found.to_json(), "predictions": asked, "provenance": made})
    return 0


def _table(args: argparse.Namespace, laws: list[str] | None) -> tuple["DataFrame", dict[str, Any]]:
    """The table and the arguments of `compare`. One header of sizes beside tokens or FLOPs stands
    for N, so that laws of N and D are compared; `--laws` asks for others.
    """
    given = headers.listed(args.x or "")
    if laws is None and len(given) == 1 and ours(given[0]) not in ("D", "C", "C_6ND"):
        runs, keywords, _ = read_table(args, wide_form(None, 2))
        if {"D", "C", "C_6ND"} & set(runs.columns):
            return runs, keywords
    runs, keywords, _ = read_table(args, wide_form(laws, len(given) or None))
    return runs, keywords


def _line(row: dict[str, Any], found: Comparison) -> str:
    where = ", ".join(f"{column} {row[column]:.4g}" for column in found.points.columns)
    value = row[f"predicted_{unit_of(found.points.y)}"]
    theirs = "".join(f", {name} {loss:.4f}" for name, loss in row["published"].items())
    return f"at {where}: {value:.4f} [{row['low']:.4f}, {row['high']:.4f}]{theirs}"
