"""The verb `measure`."""

import argparse
from pathlib import Path

from scalelab.evaluation.measure import take
from scalelab.logs import add_log_argument, json_argument, reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab measure`."""
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--settings", required=True, metavar="JSON", help="measure, split, windows, seed"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")
    parser.add_argument("--threads", type=int, default=1)
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Take one measure of one run."""
    settings = json_argument(args.settings)
    take(args.run, args.corpus, settings, args.out, args.threads, reporter(args.log))
    return 0
