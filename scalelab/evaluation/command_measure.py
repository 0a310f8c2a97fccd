"""The verb `measure`."""

import argparse
from pathlib import Path

from scalelab.errors import UserError
from scalelab.evaluation.measure import take
from scalelab.evaluation.spread import Lost
from scalelab.logs import add_log_argument, json_argument, reporter
from scalelab.plan.measures import WRITING


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab measure`."""
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--settings", required=True, metavar="JSON", help="measure, split, windows, seed"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")
    parser.add_argument("--threads", type=int, default=1, help="of all processes together")
    parser.add_argument(
        "--processes", type=int, default=1, help="that share the texts which a model writes"
    )
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Take one measure of one run; the code of a process that has ended, as a shell tells it."""
    settings, report = json_argument(args.settings), reporter(args.log)
    if args.processes < 1:
        raise UserError(f"--processes: found {args.processes}, expected 1 or more")
    if args.processes > 1 and settings["measure"] not in WRITING:
        raise UserError(
            f"--processes: found {args.processes}, expected 1 for {settings['measure']}, which "
            f"writes no text that they could share ({', '.join(WRITING)})"
        )
    threads = max(1, args.threads // args.processes)
    try:
        take(args.run, args.corpus, settings, args.out, threads, report, args.processes)
    except Lost as lost:
        report(str(lost))
        return lost.code
    return 0
