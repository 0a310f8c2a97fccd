"""Offline folders of W&B, read by W&B's own reader (`wandb leet inspect`)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.library.importers import Found, Importer
from scalelab.library.store import flat

Row = dict[str, Any]


def logs(path: Path) -> list[Path]:
    """The transaction logs at or below a path, without those under links (latest-run)."""
    if path.is_file():
        return [path] if path.suffix == ".wandb" else []
    found = [
        file
        for pattern in ("*.wandb", "*/*.wandb", "wandb/*/*.wandb", "*/wandb/*/*.wandb")
        for file in path.glob(pattern)
    ]
    # A folder that is a link holds what another holds; the path itself may be one.
    real = [
        file
        for file in found
        if not any(parent.is_symlink() for parent in file.parents if path in parent.parents)
    ]
    return sorted(set(real))


def read(path: Path, run_column: str | None) -> Iterator[Found]:
    """A run a log. Raises `UserError` where there is none, or one cannot be read."""
    found = logs(path)
    if not found:
        raise UserError(f"{path}: holds no W&B log (run-*.wandb)")
    for log in found:
        lines = records(log)
        if not any((line.get("run") or {}).get("job_type") == "fit" for line in lines):
            yield as_run(log, lines)  # what trained nothing is no run


def records(log: Path) -> list[Row]:
    """What W&B's reader prints for a log, one mapping a record."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    try:
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    except json.JSONDecodeError:
        pass
    finally:
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise UserError(f"{log}: W&B's reader failed ({said[-1].strip()})")
    raise UserError(f"{log}: W&B's reader printed something else than JSON")


def as_run(log: Path, lines: list[Row]) -> Found:
    """One run from its records: config, each logged row, the final summary, how it ended."""
    about: Row = {}
    config: Row = {}
    summary: Row = {}
    history: list[Row] = []
    code: int | None = None
    for line in lines:
        kind = line.get("type")
        body = line.get(kind) or {} if isinstance(kind, str) else {}
        if kind == "run":
            about |= body
            config |= (body.get("config") or {}).get("update") or {}
        elif kind == "config":
            config |= body.get("update") or {}
            for key in body.get("remove") or ():
                config.pop(key, None)
        elif kind == "summary":
            summary |= body.get("update") or {}
        elif kind == "history":
            history.append(_scalars(flat(body.get("item") or {})))
        elif kind == "exit":
            code = int(body.get("exit_code") or 0)
    if not about.get("run_id"):
        raise UserError(f"{log}: expected the log of a run, found no record of one")
    config.pop("_wandb", None)
    ending = {
        None: ("crashed", "its log has no end: it was killed, or still runs"),
        0: ("ok", None),
    }.get(code, ("failed", f"exit code {code}"))
    name = str(about.get("display_name") or about["run_id"])
    return Found(
        name,
        f"{log}: {name}",
        str(about["run_id"]),
        config=_scalars(flat(config)),
        history=tuple(history),
        summary=_scalars(flat(summary)),
        status=ending[0],
        reason=ending[1],
    )


def _scalars(row: Row) -> Row:
    return {key: value for key, value in row.items() if isinstance(value, (str, int, float))}


IMPORTER = Importer(
    "wandb", "an offline folder of W&B, or one with several", lambda path: bool(logs(path)), read
)
