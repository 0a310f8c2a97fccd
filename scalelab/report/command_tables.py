"""The verb `tables`: a study's tables as CSV and LaTeX, and its numbers as LaTeX macros."""

import argparse

from scalelab.figures.study import load_study
from scalelab.report.tables import write_tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `scalelab tables`."""
    parser.add_argument("--runs", required=True, metavar="CSV", help="runs.csv of the study")
    parser.add_argument("--laws", required=True, metavar="JSON", help="laws.json of the study")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")


def run(args: argparse.Namespace) -> int:
    """Write the tables and print their paths."""
    paths = write_tables(load_study(args.runs, args.laws), args.out)
    print(f"tables: {' '.join(str(path) for path in paths)}")
    return 0
