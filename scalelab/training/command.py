"""The verb `train`."""

import argparse
from pathlib import Path

from scalelab.logs import add_log_argument, json_argument, reporter
from scalelab.training.run import Interrupted, train

STOPPED = 75
"""Exit code of a run that was asked to stop and can be taken up again (EX_TEMPFAIL)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab train`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--label", default="", help="name in progress lines")
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=30, help="between two resume states"
    )
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Train; 75 when stopped with its state saved."""
    report = reporter(args.log)
    try:
        train(
            json_argument(args.spec),
            args.corpus,
            args.out,
            args.threads,
            report,
            args.label,
            args.checkpoint_seconds,
        )
    except Interrupted as stopped:
        report(str(stopped))
        return STOPPED
    return 0
