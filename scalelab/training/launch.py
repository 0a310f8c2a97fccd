"""Several processes of one run on this host, started as `torchrun` would, with one exit code."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scalelab.training.progress import LAUNCHER, manager_identity

GRACE_SECONDS = 30
"""How long the others may take to end once one process has failed."""
STOPPED = 75
"""Exit code of a process that was asked to stop and has saved its state (EX_TEMPFAIL)."""
LOST = 76
"""Exit code of a process that misses another one of its run (EX_PROTOCOL)."""
BAD_INPUT = 2
MEETING = "SCALELAB_MEETING"
"""Environment variable: the file at which the processes meet."""
GO_ON = "the others were ended too, and the same command goes on from the last state"
LOOPBACK = Path("/sys/class/net/lo")

Child = subprocess.Popen[bytes]


def launch(words: Sequence[str], processes: int, say: Callable[[str], None]) -> int:
    """Run `python -m scalelab WORDS` in so many processes; the exit code of the first that fails.

    SIGTERM and Ctrl-C are passed on, so that the processes save and leave together. Of a process
    that is lost `say` gets one sentence, and the others are ended. They meet in a file of a new
    folder, not at a port that another program could take first.
    """
    children: list[Child] = []
    asked: list[int] = []

    def pass_on(number: int, _: object) -> None:
        asked.append(number)
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    with tempfile.TemporaryDirectory(prefix="scalelab-") as name:
        folder = Path(name)
        try:
            for rank in range(processes):
                children.append(_start(words, rank, processes, folder))
            first = _wait(children)
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
        codes = [child.returncode for child in children]
        if BAD_INPUT in codes:  # one that says what is wrong has ended by itself
            first = codes.index(BAD_INPUT)
        if first is None:
            lost = LOST in codes
            if lost:
                say("the processes of the run have lost each other; " + GO_ON)
            return LOST if lost else max(codes)
        if codes[first] < 0:
            how = signal.Signals(-codes[first]).name
            if not asked:  # else who asked knows
                say(f"process {first + 1} of {processes} was ended by {how}; {GO_ON}")
        elif first > 0 and codes[0] != BAD_INPUT:  # else the first one has said it
            told = _errors(folder, first).read_text(encoding="utf-8", errors="replace")
            say(told.rstrip("\n"))
        return exit_code(codes[first])


def _start(words: Sequence[str], rank: int, processes: int, folder: Path) -> Child:
    """One process. The first speaks; what the others have to say is kept for the case that they
    fail."""
    of_world = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        MEETING: (folder / "meeting").as_uri(),
        LAUNCHER: manager_identity(),
    }
    if LOOPBACK.exists() and "GLOO_SOCKET_IFNAME" not in os.environ:
        of_world["GLOO_SOCKET_IFNAME"] = LOOPBACK.name  # one host: nothing listens outside it
    with contextlib.ExitStack() as held:
        errors = held.enter_context(open(_errors(folder, rank), "wb")) if rank else None
        return subprocess.Popen(
            [sys.executable, "-m", "scalelab", *words],
            env={**os.environ, **of_world},
            stderr=errors,
        )


def _errors(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.err"


def _wait(children: Sequence[Child]) -> int | None:
    """Until all have ended, or a while after one has failed: the place of that one, if any."""
    first, since = None, 0.0
    while any(child.poll() is None for child in children):
        if not since and any(child.poll() not in (None, 0, STOPPED) for child in children):
            first, since = _failed(children), time.monotonic()
        if since and time.monotonic() - since > GRACE_SECONDS:
            break
        time.sleep(0.05)
    return _failed(children) if first is None else first


def _failed(children: Sequence[Child]) -> int | None:
    """A process that failed by itself, one that was killed first of all: others only miss it."""
    codes = {rank: child.poll() for rank, child in enumerate(children)}
    failed = {rank: code for rank, code in codes.items() if code not in (None, 0, STOPPED, LOST)}
    return min(failed, key=lambda rank: (failed[rank] or 0) > 0) if failed else None


def exit_code(code: int) -> int:
    """As a shell tells it: 128 and its number where a signal has ended a process."""
    return code if code >= 0 else 128 - code
