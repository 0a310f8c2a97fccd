"""What an impatient person wants to see of a running job: step, loss, speed, time left.

Two ways: lines in the job's log, and a small file progress.json in the run's folder, which
`scalelab status` and `scalelab watch` read from another terminal. Neither is a result, and neither
can stop a run or cost it more than half a percent: what took long is done more rarely.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

LINE_SECONDS, LINE_SHARE, LINE_MOST = 5.0, 0.02, 60.0
"""Between two printed lines: so many seconds, or that share of the time so far, but no more than
a minute: a log of two days stays readable."""
FILE_SECONDS = 2.0
"""Between two writings of progress.json."""
WORTH = 400
"""Times its own duration that must pass before something is written or counted again."""
FILE = "progress.json"
MANAGER = "SCALELAB_MANAGER"
"""Environment variable `host:pid` of the workflow that started this job."""
LAUNCHER = "SCALELAB_LAUNCHER"
"""Environment variable `host:pid` of the process that started this one of several."""
LIVE = "SCALELAB_LIVE"
"""Environment variable: the live.json of that workflow, which names the runs of the study."""


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


class Progress:
    """The progress of one job. As a context it notes how the job ended when it ends badly."""

    def __init__(
        self,
        report: Callable[[str], None],
        label: str,
        steps: int,
        file: Path | None = None,
        whole: "Whole | None" = None,
    ) -> None:
        """file: its progress.json; None for processes that report nothing."""
        self.report, self.label, self.steps, self.file = report, label, steps, file
        self.whole = whole or Whole.of_environment()
        self.curve: list[tuple[int, float]] = []
        """(tokens, loss in nats) at the steps of the metrics."""
        self.began = self.last_line = time.monotonic()
        self.next_file = self.began + FILE_SECONDS
        self.state: dict[str, Any] = {
            "label": label,
            "steps": steps,
            **identity(),
            "started": time.time(),
        }

    def begin(self, step: int, records: Sequence[dict[str, Any]]) -> None:
        """Write the file for the first time; records: the metrics of a run that is taken up."""
        for line in records:
            self.add(line)
        loss = self.curve[-1][1] if self.curve else None
        self._write({"step": step, "loss_nats": loss, "first_step": step})

    def add(self, line: dict[str, Any]) -> None:
        """A point of the curve, from a line of metrics."""
        self.curve.append((line["tokens"], round(line["loss_nats"], 4)))

    def due(self) -> bool:
        """Whether `show` has something to do; asked at each step."""
        return self.file is not None and time.monotonic() >= self.next_file

    def show(self, step: int, loss: float, tokens_per_second: float, seconds_left: float) -> None:
        """Write the file, and a line if the last one is old enough."""
        self._write(
            {
                "step": step,
                "loss_nats": round(loss, 4),
                "tokens_per_second": round(tokens_per_second, 1),
                "seconds_left": round(seconds_left, 1),
            }
        )
        now = time.monotonic()
        pause = min(max(LINE_SECONDS, LINE_SHARE * (now - self.began)), LINE_MOST)
        if now - self.last_line >= pause:
            self.last_line = now
            self.report(
                f"{self.whole.prefix()}{self.label}: step {step:,}/{self.steps:,} "
                f"({step / self.steps:.0%}), loss {loss:.3f} nats, "
                f"{tokens_per_second:,.0f} tokens/s, {clock(seconds_left)} left"
            )

    def _write(self, changes: dict[str, Any]) -> None:
        """Write the file without waiting for the disk: after a crash of the machine it is stale.

        A disk that takes no more is no reason to stop.
        """
        self.state |= changes
        before = time.monotonic()
        if self.file:
            content = {**self.state, "updated": time.time(), "curve": self.curve}
            temporary = self.file.with_name(f".{self.file.name}.tmp")
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(json.dumps(content), encoding="utf-8")
                os.replace(temporary, self.file)
        now = time.monotonic()
        self.next_file = now + max(FILE_SECONDS, WORTH * (now - before))

    def remove(self) -> None:
        """Take the file away: the results of the run say more."""
        if self.file:
            with contextlib.suppress(OSError):
                self.file.unlink(missing_ok=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            failed = not isinstance(error, Interrupted)
            self._write({"ended": f"{error}" or type(error).__name__, "failed": failed})


class Whole:
    """How many runs of the workflow that started this job are done and at work."""

    def __init__(self, live: Path | None) -> None:
        self.live = live
        self.next, self.text = 0.0, ""
        self.done: set[str] = set()

    @classmethod
    def of_environment(cls) -> "Whole":
        """That of the workflow named in the environment; an empty one outside a workflow."""
        found = os.environ.get(LIVE)
        return cls(Path(found) if found else None)

    def prefix(self) -> str:
        """`[3/20 done, 2 running] `, or nothing where there is no workflow."""
        before = time.monotonic()
        if self.live is None or before < self.next:
            return self.text
        try:
            live = json.loads(self.live.read_text(encoding="utf-8"))
            runs = chosen_so_far(self.live.parent) if live.get("adaptive") else None
            if runs is None:
                runs = [one["id"] for one in live["runs"]]
            root = self.live.parent.parent / "runs"
            running = 0
            for name in runs:
                if name in self.done:
                    continue
                if is_done(live, root / name):
                    self.done.add(name)
                else:
                    running += is_alive(read_state(root / name))
            self.text = f"[{len(self.done)}/{len(runs)} done, {running} running] "
        except (OSError, ValueError, KeyError, TypeError):
            self.text = ""  # a line without it is better than a run that stops
        now = time.monotonic()
        self.next = now + WORTH * (now - before)
        return self.text


def chosen_so_far(study: Path) -> list[str] | None:
    """Runs that the rounds of an adaptive study have chosen; None before the first."""
    numbers = [int(path.stem) for path in study.glob("rounds/*.json") if path.stem.isdigit()]
    if not numbers:
        return None
    newest = json.loads((study / "rounds" / f"{max(numbers)}.json").read_text(encoding="utf-8"))
    return list(newest["runs"])


def is_done(live: dict[str, Any], folder: Path) -> bool:
    """Whether a run has ended: run.json is its last file.

    One that the workflow trains anew counts once its run.json is younger than the workflow.
    """
    try:
        written = (folder / "run.json").stat().st_mtime
    except OSError:
        return False
    return folder.name not in live.get("again", ()) or written >= live["started"]


def read_state(folder: Path) -> dict[str, Any] | None:
    """The progress.json of a folder; None where there is none that can be read."""
    try:
        state = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return state if isinstance(state, dict) and "step" in state else None
    except (OSError, ValueError):
        return None


FRESH_SECONDS = 120.0
"""A job on another host counts as running so long after it wrote its file."""


def is_alive(state: dict[str, Any] | None) -> bool:
    """Whether the job that wrote this state still runs."""
    if state is None or state.get("ended"):
        return False
    if state.get("host") == socket.gethostname():
        return runs_here(state)
    return bool(time.time() - float(state.get("updated", 0)) < FRESH_SECONDS)


def identity() -> dict[str, Any]:
    """Host, process id, and when the process was born, since ids are used again."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def runs_here(who: dict[str, Any]) -> bool:
    """Whether the process of an `identity` of this host is there."""
    pid = who.get("pid")
    if not isinstance(pid, int) or _is_gone(pid):
        return False
    return _born(pid) == who.get("born")


def _born(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where the system is silent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A process that has died stays as a zombie until its parent asks for it.
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:  # another user's process, or a system without /proc: it is there
        return False


def clock(seconds: float) -> str:
    """`2:05`, or `1:02:05` from an hour on."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def manager_identity() -> str:
    """`host:pid`: what a workflow, or the process that starts several of one run, writes into the
    environment of those that must not outlive it.
    """
    return f"{socket.gethostname()}:{os.getpid()}"


def orphaned() -> bool:
    """Whether what started this job, on this host, has died (by a kill -9, say): its workflow, or
    the process that started several of one run.
    """
    return any(_has_died(os.environ.get(name, "")) for name in (MANAGER, LAUNCHER))


def _has_died(process: str) -> bool:
    host, _, pid = process.rpartition(":")
    return pid.isdigit() and host == socket.gethostname() and _is_gone(int(pid))
