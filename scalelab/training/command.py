"""The verb `train`."""

import argparse
import errno
import os
from collections.abc import Callable
from pathlib import Path

from scalelab.errors import UserError
from scalelab.logs import add_log_argument, json_argument, reporter
from scalelab.training.launch import STOPPED, launch
from scalelab.training.nodes import on_nodes
from scalelab.training.slots import taken


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab train`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--start", type=Path, metavar="STATE", help="of a trunk (scalelab trunk)")
    parser.add_argument("--label", default="", help="name in progress lines")
    add_machine_arguments(parser)
    add_log_argument(parser)


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Threads, processes and resume states, as `train` and `trunk` have them."""
    parser.add_argument(
        "--threads", type=int, default=1, help="of all processes of a node together"
    )
    parser.add_argument("--processes", type=int, default=1, help="data-parallel processes")
    parser.add_argument(
        "--nodes", type=int, default=1, help="of the SLURM job at hand, to spread processes over"
    )
    parser.add_argument(
        "--gpus", type=int, default=0, help="to take among those of this host that are free"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=30, help="between two resume states"
    )


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that takes no more."""


def run(args: argparse.Namespace) -> int:
    """Train; 75 when stopped with its state saved."""

    def work(threads: int, report: Callable[[str], None]) -> None:
        from scalelab.training.run import train

        train(
            json_argument(args.spec),
            args.corpus,
            args.out,
            threads,
            report,
            args.label,
            args.checkpoint_seconds,
            args.start,
        )

    return in_processes(args, work)


def in_processes(
    args: argparse.Namespace, work: Callable[[int, Callable[[str], None]], None]
) -> int:
    """Do `work(threads, report)`, in as many processes as asked for; the exit code.

    Several processes: this one starts and watches them. `torchrun` may be used instead, since a
    process that finds WORLD_SIZE in its environment joins that world.
    """
    if min(args.processes, args.nodes) < 1:
        name = "processes" if args.processes < 1 else "nodes"
        raise UserError(f"--{name}: found {getattr(args, name)}, expected 1 or more")
    if "WORLD_SIZE" in os.environ:
        return _process(args, work)
    if args.nodes > 1:
        return on_nodes(args.words, args.processes, args.nodes, args.threads)
    with taken(args.gpus, reporter(args.log)):
        if args.processes > 1:
            return launch(args.words, args.processes)
        return _process(args, work)


def _process(args: argparse.Namespace, work: Callable[[int, Callable[[str], None]], None]) -> int:
    """One process of a run, or its only one."""
    from scalelab.training.loop import Interrupted, silent

    # Of several processes the first speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    report = reporter(args.log) if first else silent
    try:
        work(max(1, args.threads * args.nodes // args.processes), report)
    except Interrupted as stopped:
        report(str(stopped))
        return STOPPED
    except UserError:
        if first:
            raise
        return 2
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{error.filename or args.out}: the disk takes no more ({error.strerror}); free some "
            "space and run the same command again: the run goes on from its last state"
        ) from None
    return 0
