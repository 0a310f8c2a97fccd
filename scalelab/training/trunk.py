"""The verb `trunk`: steps at constant rate that several runs share, kept as a state."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

from scalelab.logs import add_log_argument
from scalelab.plan.labels import label_of
from scalelab.training.command import (
    add_init_argument,
    add_machine_arguments,
    in_processes,
    specification,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab trunk`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="what the runs share")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR")
    parser.add_argument("--steps", required=True, type=int, help="where the state is kept")
    parser.add_argument("--start", type=Path, metavar="STATE", help="of the same trunk, earlier")
    parser.add_argument("--out", required=True, type=Path, metavar="STATE")
    add_init_argument(parser)
    add_machine_arguments(parser)
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Train the steps and write the state; 75 when stopped with a resume state saved.

    A trunk that diverges writes its state too: the runs that branch from it end as it did.
    """

    def work(threads: int, report: Callable[[str], None]) -> None:
        from scalelab.training.offsite import copied
        from scalelab.training.run import job, signals
        from scalelab.training.state import remove

        spec = specification(args)
        spec["training"]["steps"] = args.steps
        label = f"trunk of {label_of(spec)}"
        folder = args.out.with_suffix("")
        place = args.corpus, folder, threads, report, label
        with copied(folder / "state", report), job(spec, *place, init=args.init) as this:
            trainer = this.trainer()
            with signals() as stopped:
                outcome = trainer.run(args.checkpoint_seconds, stopped, args.start)
            trainer.save_trunk(args.out, outcome)
            if this.world.first:
                remove(trainer.folder)
                trainer.progress.remove()
                with contextlib.suppress(OSError):
                    folder.rmdir()  # it held no more than these
            this.report(f"{label}: {outcome.status}, {outcome.steps:,} of {args.steps:,} steps")

    return in_processes(args, work)
