"""A study as it stands now, read from its folder and those of its runs. Nothing is changed."""

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import read_json
from scalelab.live.announce import FILE, of_plan
from scalelab.training.progress import is_alive, is_done, read_state, runs_here

Row = dict[str, Any]
ENDED = ("ok", "diverged", "oom")
ORDER = ("running", "stopped", "failed", "diverged", "oom", "ok", "waiting")


@dataclass(frozen=True)
class Job:
    """One run, or one stretch of a trunk.

    status: ok, diverged or oom (ended), running, stopped (a process that has gone, the state is
    there), failed (an error) or waiting. reason: a sentence for those that did not end well.
    seconds, tokens_per_second, loss_nats: of training, as far as it has come. curve: (tokens, loss
    in nats). plan: the row of live.json.
    """

    kind: str
    plan: Row
    folder: Path
    status: str
    reason: str | None = None
    step: int = 0
    loss_nats: float | None = None
    heldout_loss_nats: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    evaluated: bool = False
    curve: tuple[tuple[int, float], ...] = field(default=(), repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.status in ENDED

    @property
    def share(self) -> float:
        """Steps done of all."""
        return 1.0 if self.ended else min(1.0, self.step / max(1, self.plan["steps"]))


@dataclass(frozen=True)
class Study:
    """All of it. workflow: at work, gone, elsewhere (on another host), or None: never started.

    text: whether the corpora are prepared. rounds: decided so far of an adaptive study, else None.
    """

    name: str
    folder: Path
    workflow: str | None
    live: Row
    text: bool
    runs: tuple[Job, ...]
    trunks: tuple[Job, ...]
    rounds: int | None
    results: str | None

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Runs and stretches of trunks."""
        return (*self.trunks, *self.runs)

    def count(self, *statuses: str) -> int:
        """Runs of these statuses."""
        return sum(job.status in statuses for job in self.runs)


def read(folder: Path) -> Study:
    """Read a study. Raises `UserError` where the folder is none."""
    root = folder.parent
    live = _live(folder)
    rounds, chosen = _rounds(folder) if live.get("adaptive") else (None, None)
    try:
        runs = [row for row in live["runs"] if chosen is None or row["id"] in chosen]
        kept = tuple(_run(row, root, live) for row in runs)
        shared = [
            row for row in live["trunks"] if chosen is None or chosen & {*row.get("needed_by", ())}
        ]
        trunks = tuple(_stretch(row, root, live) for row in shared)
        text = all((root / "corpora" / name / "data_hash").exists() for name in live["corpora"])
        report = next((n for n in ("report.html", "runs.csv") if (folder / n).exists()), None)
        return Study(
            live["study"],
            folder,
            _workflow(live),
            {**live, "trunks": shared},
            text,
            kept,
            trunks,
            rounds,
            report,
        )
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise UserError(
            f"{folder}: expected the plan of a study, but {error} is missing or odd in it"
        ) from None


def _live(folder: Path) -> Row:
    """live.json, or the same of plan.json where the study has that alone or it is younger."""
    live, plan = folder / FILE, folder / "plan.json"
    if not (live.exists() or plan.exists()):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, expected that of a study under results/")
        raise UserError(
            f"{folder}: no study is here (it has neither {FILE} nor plan.json, which "
            "`snakemake` writes when it starts)"
        )
    content: Row = read_json(live) if live.exists() else {}
    if not isinstance(content, dict):
        raise UserError(f"{live}: expected an object, found {type(content).__name__}")
    if not live.exists() or (
        content.get("adaptive")
        and plan.exists()
        and plan.stat().st_mtime > float(content.get("started", 0))
    ):
        found = read_json(plan)
        try:
            content = {"study": found["study"], **content, **of_plan(found), "adaptive": False}
        except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise UserError(
                f"{plan}: expected a plan that `scalelab plan` wrote, but {error} is missing or odd"
            ) from None
    return content


def _rounds(folder: Path) -> tuple[int, set[str]]:
    numbers = [int(p.stem) for p in folder.glob("rounds/*.json") if p.stem.isdigit()]
    if not numbers:
        return 0, set()
    newest = read_json(folder / "rounds" / f"{max(numbers)}.json")
    return len(numbers), set(newest.get("runs", ()))


def _workflow(live: Row) -> str | None:
    if "pid" not in live:
        return None
    if is_here(live):
        return "at work" if runs_here(live) else "gone"
    return "elsewhere"


def is_here(live: Row) -> bool:
    """Whether the workflow was started on this host."""
    import socket

    return live.get("host") == socket.gethostname()


def _run(row: Row, root: Path, live: Row) -> Job:
    folder = root / "runs" / row["id"]
    state = read_state(folder)
    if state and is_alive(state):
        return _at_work("run", row, folder, state)
    if is_done(live if "started" in live else {}, folder):
        return _ended(row, folder, live["evaluation_id"])
    return _not_at_work("run", row, folder, folder / "logs" / "train.log", state, live)


def _stretch(row: Row, root: Path, live: Row) -> Job:
    folder = root / "trunks" / row["id"] / str(row["steps"])
    if folder.with_suffix(".state").exists():
        return Job("trunk", row, folder, "ok", step=row["steps"])
    state = read_state(folder)
    if state and is_alive(state):
        return _at_work("trunk", row, folder, state)
    log = folder.parent / "logs" / f"{row['steps']}.log"
    return _not_at_work("trunk", row, folder, log, state, live)


def _at_work(kind: str, row: Row, folder: Path, state: Row) -> Job:
    return Job(
        kind,
        row,
        folder,
        "running",
        step=state["step"],
        loss_nats=state.get("loss_nats"),
        tokens_per_second=state.get("tokens_per_second"),
        seconds_left=_less_its_age(state),
        curve=_curve(state),
    )


def _less_its_age(state: Row) -> float | None:
    left = state.get("seconds_left")
    if left is None:
        return None
    return max(0.0, float(left) - max(0.0, time.time() - float(state["updated"])))


def _curve(state: Row) -> tuple[tuple[int, float], ...]:
    return tuple((point[0], point[1]) for point in state.get("curve", ()))


def _ended(row: Row, folder: Path, evaluation: str) -> Job:
    file = folder / "run.json"
    run = _json(file, file.stat().st_mtime_ns)
    score_file = folder / "eval" / f"{evaluation}.json"
    score: Row = {}
    if score_file.exists():
        score = _json(score_file, score_file.stat().st_mtime_ns)
    metrics = folder / "metrics.jsonl"
    curve = _metrics(metrics, metrics.stat().st_mtime_ns) if metrics.exists() else ()
    return Job(
        "run",
        row,
        folder,
        run["status"],
        run.get("reason"),
        step=run["steps"],
        loss_nats=run.get("train_loss_nats"),
        heldout_loss_nats=score.get("loss_nats"),
        tokens_per_second=run.get("tokens_per_second"),
        evaluated=bool(score),
        curve=curve,
    )


def _not_at_work(kind: str, row: Row, folder: Path, log: Path, state: Row | None, live: Row) -> Job:
    states = [int(p.stem) for p in folder.glob("state/*.state") if p.stem.isdigit()]
    if state:
        # What was trained since the last resume state is trained again.
        status = "failed" if state.get("failed") else "stopped"
        reason = state.get("ended") or "its process has gone without a word"
        if state.get("failed") is False:
            reason = "its state is saved"
        loss = state.get("loss_nats")
        return Job(
            kind, row, folder, status, reason, max(states, default=0), loss, curve=_curve(state)
        )
    if states:
        return Job(kind, row, folder, "stopped", None, max(states))
    if log.exists() and log.stat().st_mtime >= live.get("started", 0.0):
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if said:
            return Job(kind, row, folder, "failed", said[-1])
    return Job(kind, row, folder, "waiting")


@functools.lru_cache(maxsize=20_000)
def _json(path: Path, _: int) -> Row:
    """A file that was written at that time; the page asks for it every two seconds."""
    return read_json(path)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=20_000)
def _metrics(path: Path, _: int) -> tuple[tuple[int, float], ...]:
    import json

    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return tuple((row["tokens"], round(row["loss_nats"], 4)) for row in rows)
