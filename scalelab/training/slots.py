"""GPUs of a host shared by the jobs on it: each takes one that is free, and names it to CUDA.

Snakemake counts GPUs, but does not say which one is whose. A slot is a lock on a file of this host;
the system frees it when the process that holds it dies, however it dies.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from scalelab.errors import UserError
from scalelab.training.progress import Interrupted, orphaned

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE_SECONDS = 0.2
"""Between two looks for a free slot."""


@contextmanager
def taken(count: int, report: Callable[[str], None]) -> Iterator[None]:
    """Hold so many GPUs, named in CUDA_VISIBLE_DEVICES, while the block runs; none for 0.

    Those of CUDA_VISIBLE_DEVICES are shared, or all of this host where it is not set.

    Raises:
        UserError: the host has fewer.
        Interrupted: the workflow that started the job has gone while it waited.
    """
    if not count:
        yield
        return
    names = devices()
    if len(names) < count:
        raise UserError(
            f"--gpus: found {count}, expected at most the {len(names)} of this host"
            f" ({VISIBLE}={','.join(names)})"
        )
    before = os.environ.get(VISIBLE)
    with ExitStack() as held:
        mine = _wait_for(names, count, held, report)
        os.environ[VISIBLE] = ",".join(mine)
        report(f"{VISIBLE}={os.environ[VISIBLE]}")
        try:
            yield
        finally:
            os.environ.pop(VISIBLE)
            os.environ.update({} if before is None else {VISIBLE: before})


def devices() -> list[str]:
    """Names of the GPUs that may be used here, as CUDA_VISIBLE_DEVICES takes them."""
    told = os.environ.get(VISIBLE)
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def _wait_for(
    names: list[str], count: int, held: ExitStack, report: Callable[[str], None]
) -> list[str]:
    waited = False
    while not (mine := _take(names, count, held)):
        if not waited:
            report(f"waiting for {count} of the GPUs {', '.join(names)}")
        waited = True
        if orphaned():
            raise Interrupted("the workflow has gone before a GPU was free")
        time.sleep(PAUSE_SECONDS)
    return mine


def _take(names: list[str], count: int, held: ExitStack) -> list[str]:
    """Locks on so many devices, or on none: a job that keeps some while it waits for others could
    wait for one that does the same."""
    folder = Path(tempfile.gettempdir(), f"scalelab-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    # In each job of SLURM the first of its GPUs may be called 0.
    job = os.environ.get("SLURM_JOB_ID", "host")
    mine: list[str] = []
    with FileLock(folder / f"gpus-{job}.lock"), ExitStack() as locks:
        for name in names:
            try:
                lock = FileLock(folder / f"gpu-{job}-{quote(name, safe='')}.lock")
                locks.enter_context(lock.acquire(timeout=0))
                mine.append(name)
            except Timeout:
                continue
            if len(mine) == count:
                held.push(locks.pop_all())
                return mine
    return []
