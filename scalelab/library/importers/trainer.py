"""Hugging Face's Trainer: trainer_state.json, and the size of the model from beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import digest, read_json
from scalelab.library.importers import Found, Importer
from scalelab.library.parameters import count_beside

STATE = "trainer_state.json"
Row = dict[str, Any]


def states(path: Path) -> list[Path]:
    """The states at or below a path."""
    if path.is_file():
        return [path] if path.name == STATE or (path.suffix == ".json" and _is_state(path)) else []
    return sorted(path.rglob(STATE))


def _is_state(path: Path) -> bool:
    try:
        content = read_json(path)
    except UserError:
        return False
    return isinstance(content, dict) and "log_history" in content


def read(path: Path, run_column: str | None) -> Iterator[Found]:
    """A run a state; the states of checkpoints of one run have one identity."""
    found = states(path)
    if not found:
        raise UserError(f"{path}: holds no {STATE}")
    for file in found:
        yield as_run(file)


def as_run(file: Path) -> Found:
    """One state: its log merged by step, the counts of the model, how far it came.

    Zero tokens or FLOPs mean that the Trainer did not count them.

    Raises:
        UserError: not the state of a Trainer.
    """
    state = read_json(file)
    log = state.get("log_history") if isinstance(state, dict) else None
    step = state.get("global_step") if isinstance(state, dict) else None
    if not isinstance(log, list) or not isinstance(step, int):
        raise UserError(f"{file}: expected a Trainer's state with log_history and global_step")
    history: dict[int, Row] = {}
    for entry in log:
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            raise UserError(f"{file}: log_history: expected entries with a step, found {entry!r}")
        row = history.setdefault(entry["step"], {})
        row |= {key: value for key, value in entry.items() if _is_told(key, value)}
    if step in history:
        totals = ("num_input_tokens_seen", "total_flos")
        history[step] |= {key: state[key] for key in totals if _is_told(key, state.get(key))}
    last = state.get("max_steps")
    whole = not isinstance(last, int) or last <= 0 or step >= last
    folder = run_folder(file)
    return Found(
        folder.name,
        f"{file}: {folder.name}",
        digest(str(folder.resolve())),
        history=tuple(history[at] for at in sorted(history)),
        summary={"step": step, **_counts(file)},
        status="ok" if whole else "unfinished",
        reason=None if whole else f"step {step:,} of {last:,}: its schedule had not ended",
    )


def run_folder(file: Path) -> Path:
    """The folder of a run: above checkpoint-STEP, else that of the file."""
    folder = file.absolute().parent
    return folder.parent if folder.name.startswith("checkpoint-") else folder


def _counts(file: Path) -> dict[str, int]:
    """Counts of the model beside a state, or in the newest checkpoint of its run."""
    checkpoints = [one for one in run_folder(file).glob("checkpoint-*") if one.is_dir()]
    newest = sorted(checkpoints, key=lambda one: (len(one.name), one.name), reverse=True)
    for folder in (file.parent, *newest):
        if counts := count_beside(folder):
            return counts
    return {}


def _is_told(key: str, value: Any) -> bool:
    if key in ("num_input_tokens_seen", "total_flos") and not value:
        return False
    return isinstance(value, (int, float, str))


IMPORTER = Importer(
    "trainer",
    f"a {STATE} of transformers, or folders with some",
    lambda path: bool(states(path)),
    read,
    unit="nats",
    needs_tokens=True,
)
