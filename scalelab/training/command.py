"""The verb `train`."""

import argparse
import errno
import os
from pathlib import Path

from scalelab.errors import UserError
from scalelab.logs import add_log_argument, json_argument, reporter

STOPPED = 75
"""Exit code of a run that was asked to stop and can be taken up again (EX_TEMPFAIL)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab train`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--threads", type=int, default=1, help="of all processes together")
    parser.add_argument(
        "--processes", type=int, default=1, help="data-parallel processes on this host"
    )
    parser.add_argument("--label", default="", help="name in progress lines")
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=30, help="between two resume states"
    )
    add_log_argument(parser)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that takes no more."""


def run(args: argparse.Namespace) -> int:
    """Train; 75 when stopped with its state saved.

    Several processes: this one starts and watches them. `torchrun` may be used instead, since a
    process that finds WORLD_SIZE in its environment joins that world.
    """
    if args.processes < 1:
        raise UserError(f"--processes: found {args.processes}, expected 1 or more")
    if args.processes > 1 and "WORLD_SIZE" not in os.environ:
        from scalelab.training.launch import launch

        return launch(args.words, args.processes)
    from scalelab.training.run import Interrupted, train

    report = reporter(args.log)
    try:
        train(
            json_argument(args.spec),
            args.corpus,
            args.out,
            max(1, args.threads // args.processes),
            report,
            args.label,
            args.checkpoint_seconds,
        )
    except Interrupted as stopped:
        report(str(stopped))
        return STOPPED
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{error.filename or args.out}: the disk takes no more ({error.strerror}); free some "
            "space and run the same command again: the run goes on from its last state"
        ) from None
    return 0
