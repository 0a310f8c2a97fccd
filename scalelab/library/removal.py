"""Taking things out of a results folder, so that a kill leaves each whole or gone."""

import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from scalelab.errors import UserError
from scalelab.library.store import IDENTITY, Record, Store, size_of

SUFFIX = ".removed"
DAY = 86_400.0


@dataclass(frozen=True)
class Item:
    """Something that can go. kind: run, resume state, trunk state, corpus, remains."""

    kind: str
    path: Path
    bytes: int
    why: str
    lock: Path | None = None
    """File that a process at work on it holds."""


def of_run(record: Record, why: str) -> Item:
    """A run's whole folder."""
    return Item("run", record.folder, size_of(record.folder), why, _lock(record.folder))


def unused(store: Store, records: Sequence[Record], days: float | None = None) -> list[Item]:
    """What no plan uses: of these runs, trunk states and corpora; resume states of ended runs; and
    what a removal that was killed left. days: only what was last written longer ago; a corpus of a
    run that stays for that stays too.
    """
    root = store.root
    items = [of_run(one, "in no plan") for one in records if not one.labels]
    items = items if days is None else older(items, days)
    going = {item.path for item in items}
    for one in store.records:
        state = one.folder / "state"
        if one.run and state.is_dir() and one.folder not in going:
            why = "its run has ended"
            items.append(Item("resume state", state, size_of(state), why, _lock(one.folder)))
    items += _trunk_states(root, {state for study in store.studies for state in study.trunk_states})
    corpora = {study.corpus for study in store.studies}
    kept = [one for one in store.records if one.folder not in going]
    corpora |= {one.spec["corpus"] for one in kept if one.spec}
    for folder in sorted((root / "corpora").glob("*")):
        if IDENTITY.fullmatch(folder.name) and folder.name not in corpora:
            items.append(
                Item("corpus", folder, size_of(folder), "in no plan, of no run that stays")
            )
    items += _remains(root)
    return items if days is None else older(items, days)


def _trunk_states(root: Path, used: set[tuple[str, int]]) -> Iterator[Item]:
    """Trunk states that no plan branches from; the folder where none of its states is used."""
    for folder in sorted((root / "trunks").glob("*")):
        if not (folder.is_dir() and IDENTITY.fullmatch(folder.name)):
            continue
        if folder.name not in {name for name, _ in used}:
            yield Item("trunk state", folder, size_of(folder), "in no plan")
            continue
        for path in sorted(folder.iterdir()):
            # STEPS.state is the state, STEPS/ the resume state of the process that makes it.
            if path.stem.isdigit() and (folder.name, int(path.stem)) not in used:
                lock = _lock(folder / path.stem)
                yield Item("trunk state", path, size_of(path), "in no plan", lock)


def _remains(root: Path) -> Iterator[Item]:
    for parent in ("runs", "trunks", "corpora", "trunks/*"):
        for path in sorted(root.glob(f"{parent}/.*{SUFFIX}")):
            yield Item("remains", path, size_of(path), "of a removal that was cut short")


def older(items: Iterable[Item], days: float) -> list[Item]:
    """Items whose newest file was written more than so many days ago."""
    limit = time.time() - days * DAY
    return [item for item in items if _newest(item.path) < limit]


def _newest(path: Path) -> float:
    files = [path] if path.is_file() else [path, *path.rglob("*")]
    return max(one.lstat().st_mtime for one in files)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the lock that a workflow holds while it works in this folder.

    Raises:
        UserError: a workflow, or another removal, is at work.
    """
    lock = FileLock(root / ".workflow.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{root}: a workflow is at work in this folder; wait for it or end it, then prune"
        ) from None
    try:
        yield
    finally:
        lock.release()


def remove(items: Sequence[Item]) -> int:
    """Remove items; how many bytes that freed. The caller holds `alone`.

    Each takes another name first, under which nothing looks for it, so that a kill in between
    leaves no half run that passes for whole; the next removal takes the remains away.

    Raises:
        UserError: a process still works on one of them; nothing is removed then.
    """
    with ExitStack() as held:
        for item in items:
            if item.lock and item.lock.exists():
                _hold(held, item)
        for item in items:
            _remove(item.path)
    return sum(item.bytes for item in items)


def _hold(held: ExitStack, item: Item) -> None:
    assert item.lock is not None
    lock = FileLock(item.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{item.path}: a process is at work on it ({item.lock} is held); nothing was removed"
        ) from None
    held.callback(lock.release)


def _remove(path: Path) -> None:
    gone = path
    if not path.name.endswith(SUFFIX):
        gone = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{SUFFIX}")
        os.rename(path, gone)
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink(missing_ok=True)


def _lock(folder: Path) -> Path:
    return folder.parent / ".locks" / f"{folder.name}.lock"
