"""The verb `evaluate`."""

import argparse
from pathlib import Path

from scalelab.evaluation.run import evaluate
from scalelab.logs import add_log_argument, json_argument, reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab evaluate`."""
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--settings", required=True, metavar="JSON", help="split, context, stride")
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--label", default="", help="name in progress lines")
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate one run."""
    evaluate(
        args.run,
        args.corpus,
        json_argument(args.settings),
        args.out,
        args.threads,
        reporter(args.log),
        args.label,
    )
    return 0
