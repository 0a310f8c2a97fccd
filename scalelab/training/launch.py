"""Several processes of one run on this host, started as `torchrun` would, with one exit code."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE_SECONDS = 30
"""How long the others may take to end once one process has failed."""
STOPPED = 75
"""Exit code of a process that was asked to stop and has saved its state (EX_TEMPFAIL)."""


def launch(words: Sequence[str], processes: int) -> int:
    """Run `python -m scalelab WORDS` in so many processes; the exit code of the first that fails.

    SIGTERM and Ctrl-C are passed on, so that the processes save and leave together.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "scalelab", *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]
    return watch(children)


def watch(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for processes and pass signals on to them; the exit code of the first that fails."""

    def pass_on(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _wait(children)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for child in children:
            if child.poll() is None:
                child.kill()


def _wait(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    failed, since = 0, 0.0
    while any(child.poll() is None for child in children):
        ended = [child.poll() for child in children]
        wrong = [code for code in ended if code and code != STOPPED]
        if not failed and wrong:
            failed, since = _exit_code(wrong[0]), time.monotonic()
        if failed and time.monotonic() - since > GRACE_SECONDS:
            return failed
        time.sleep(0.05)
    codes = [_exit_code(child.wait()) for child in children]
    return failed or max(codes)


def _exit_code(code: int) -> int:
    """As a shell tells it: 128 and its number where a signal has ended a process."""
    return code if code >= 0 else 128 - code
