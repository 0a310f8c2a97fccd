"""What an impatient person wants to see of a running job: step, loss, speed, time left."""

import os
import socket
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0
MANAGER = "SCALELAB_MANAGER"
"""Environment variable `host:pid` of the workflow that started this job."""


class Progress:
    """Report one line every few seconds."""

    def __init__(self, report: Callable[[str], None], label: str, steps: int) -> None:
        self.report, self.label, self.steps = report, label, steps
        self.last = time.monotonic()

    def show(self, step: int, loss: float, tokens_per_second: float, seconds_left: float) -> None:
        """Report if the last line is old enough."""
        now = time.monotonic()
        if now - self.last < EVERY_SECONDS:
            return
        self.last = now
        minutes, seconds = divmod(round(seconds_left), 60)
        self.report(
            f"{self.label}: step {step:,}/{self.steps:,} ({step / self.steps:.0%}), "
            f"loss {loss:.3f} nats, {tokens_per_second:,.0f} tokens/s, {minutes}:{seconds:02d} left"
        )


def manager_identity() -> str:
    """What a workflow writes into the environment of its jobs."""
    return f"{socket.gethostname()}:{os.getpid()}"


def orphaned() -> bool:
    """Whether the workflow that started this job, on this host, has died (a kill -9, say)."""
    host, _, pid = os.environ.get(MANAGER, "").rpartition(":")
    if not pid.isdigit() or host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
        # A process that has died stays as a zombie until its parent asks for it.
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:  # another user's process, or a system without /proc: it is there
        return False
