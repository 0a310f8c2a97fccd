"""The verb `train`."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalelab.errors import FULL, TryAgain, UserError, first_line, of_system
from scalelab.logs import add_log_argument, json_argument, reporter
from scalelab.training.launch import LOST, STOPPED, launch
from scalelab.training.nodes import on_nodes
from scalelab.training.progress import LAUNCHER
from scalelab.training.slots import taken


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab train`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument("--start", type=Path, metavar="STATE", help="of a trunk (scalelab trunk)")
    parser.add_argument("--teacher", type=Path, metavar="DIR", help="the run to distil from")
    parser.add_argument("--label", default="", help="name in progress lines")
    add_init_argument(parser)
    add_machine_arguments(parser)
    add_log_argument(parser)


def add_init_argument(parser: argparse.ArgumentParser) -> None:
    """The checkpoint to start from, as `train` and `trunk` have it."""
    parser.add_argument(
        "--init", metavar="DIR", help="checkpoint to start from, or owner/name on the hub"
    )


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
        "--sharding", action="store_true", help="split the model over the processes (FSDP)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=30, help="between two resume states"
    )


def run(args: argparse.Namespace) -> int:
    """Train; 75 when stopped with its state saved."""

    def work(threads: int, report: Callable[[str], None]) -> None:
        from scalelab.training.offsite import copied
        from scalelab.training.run import train

        with copied(args.out / "state", report):
            train(
                specification(args),
                args.corpus,
                args.out,
                threads,
                report,
                args.label,
                args.checkpoint_seconds,
                args.start,
                args.teacher,
                args.init,
            )

    return in_processes(args, work)


def specification(args: argparse.Namespace) -> dict[str, Any]:
    """That of --spec, sharded where --sharding says so."""
    spec: dict[str, Any] = json_argument(args.spec)
    return {**spec, "sharding": True} if args.sharding else spec


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
    say = reporter(args.log)
    with taken(args.gpus, say):
        if args.processes > 1:
            return launch(args.words, args.processes, say)
        return _process(args, work)


def _process(args: argparse.Namespace, work: Callable[[int, Callable[[str], None]], None]) -> int:
    """One process of a run, or its only one."""
    from scalelab.training.distributed import has_lost_a_process
    from scalelab.training.loop import Interrupted, silent
    from scalelab.training.step import is_out_of_memory

    # Of several processes the first speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    if not first:
        args.log = None
    report = reporter(args.log) if first else silent
    try:
        work(max(1, args.threads * args.nodes // args.processes), report)
    except Interrupted as stopped:
        report(str(stopped))
        return STOPPED
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename}: is gone, though the run was begun with it; put it back, and the "
            "same command goes on from the last state"
        ) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        told = of_system(error, args.out)
        raise UserError(f"{told}: the run goes on from its last state") from None
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UserError(
                f"{args.out}: out of memory ({first_line(error)}); give the run more memory or "
                "processes, and run the same command again"
            ) from None
        if "WORLD_SIZE" not in os.environ or not has_lost_a_process(error):
            raise
        if LAUNCHER in os.environ:  # which knows more
            return LOST
        raise TryAgain(
            f"{args.out}: another process of the run is gone ({first_line(error)}); the same "
            "command goes on from the last state"
        ) from None
    return 0
