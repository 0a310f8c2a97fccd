"""Parts of a measure's work divided over processes of this host, each with the model opened anew.

The processes do not speak to each other. What a part gives depends on no other part, so it is the
same to the last bit whoever does it, as long as each process has as many threads.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.evaluation.checkpoint import open_checkpoint
from scalelab.evaluation.measures import Work
from scalelab.training import machine
from scalelab.training.launch import exit_code


class Lost(Exception):
    """A process has ended before its share was done: a sentence, and `code`, as a shell has it."""

    def __init__(self, place: int, processes: int, code: int) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with {code}"
        super().__init__(
            f"process {place + 1} of {processes} {how}; the others were ended too, nothing was "
            "written, and the same command starts anew"
        )
        self.code = exit_code(code) or 1


def spread(
    model: Any, work: Work, parts: Sequence[Any], folder: Path, processes: int, threads: int
) -> list[Any]:
    """`work(model, part)` of each part, in their order; this process does its share with `model`.

    folder: the checkpoint that the others open. threads: of each process.

    Raises:
        UserError: one of them has no device of its own, or cannot open the checkpoint.
        Lost: one of them was ended, or has failed with a traceback.
    """
    processes = min(processes, len(parts))
    # spawn: this process holds threads, which a fork would copy in an unknown state.
    context = multiprocessing.get_context("spawn")
    children: dict[Any, tuple[int, BaseProcess]] = {}
    found: dict[int, list[Any]] = {0: []}
    here: Any
    try:
        for place in range(1, processes):
            here, there = context.Pipe(duplex=False)
            words = (work, parts[place::processes], folder, place, threads, there)
            one = context.Process(target=_share, args=words, daemon=True)
            children[here] = place, one
            one.start()
            there.close()  # so that its end is seen here
        for part in parts[::processes]:
            found[0].append(work(model, part))
            for place, child in children.values():
                if child.exitcode:
                    raise Lost(place, processes, child.exitcode)
        waiting = dict(children)
        while waiting:
            for here in wait(list(waiting)):
                place, child = waiting.pop(here)
                found[place] = _told(here, child, place, processes)
    finally:
        for here, (_, child) in children.items():
            if child.pid is not None:
                child.kill()
                child.join()
            here.close()
    return [found[at % processes][at // processes] for at in range(len(parts))]


def _told(here: Any, child: BaseProcess, place: int, processes: int) -> list[Any]:
    """What a process sends: results of its parts, or what is wrong."""
    try:
        told: list[Any] | UserError = here.recv()
    except (EOFError, OSError):  # it has gone, perhaps while it sent
        child.join()
        raise Lost(place, processes, child.exitcode or 0) from None
    if isinstance(told, UserError):
        raise told
    return told


def _share(
    work: Work, parts: Sequence[Any], folder: Path, place: int, threads: int, out: Any
) -> None:
    """One of the other processes: it sends its results and ends, early where no one waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to all; the first ends the others
    os.environ["LOCAL_RANK"] = str(place)
    first, found = multiprocessing.parent_process(), []
    with suppress(BrokenPipeError):
        try:
            machine.set_up(threads)
            model = open_checkpoint(folder)
            for part in parts:
                if first is not None and not first.is_alive():
                    return
                found.append(work(model, part))
            out.send(found)
        except UserError as error:
            out.send(error)
