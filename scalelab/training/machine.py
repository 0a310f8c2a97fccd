"""The machine at hand: threads, allocator, device, memory, and how fast a product is."""

import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

import torch

from scalelab.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
REPEATS = 12
"""Products that are timed: the quickest counts, and other jobs may be at work beside."""
SLOW = 0.01
"""Seconds of a product of (256, 256) matrices from which a larger one is not tried."""


def set_up(threads: int) -> None:
    """Use exactly `threads` threads, and keep freed memory in the process.

    Returning memory to the system after each step costs page faults at the next one: measured at
    25% of a step at N = 1e6 and half of it at N = 1e4.
    """
    torch.set_num_threads(threads)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            if not libc.mallopt(M_MMAP_THRESHOLD, 1 << 30):
                libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def device() -> torch.device:
    """CUDA or MPS where there is one, the processor otherwise (SCALELAB_DEVICE overrides).

    With several processes on a host each takes the CUDA device of its local rank.
    """
    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    chosen = os.environ.get("SCALELAB_DEVICE") or next(kind for kind in here if here[kind])
    kind, _, index = chosen.partition(":")
    if not here.get(kind) or (index and not index.isdigit()):
        found = ", ".join(name for name in here if here[name])
        raise UserError(f"SCALELAB_DEVICE: found {chosen!r}, expected one of {found}")
    if kind != "cuda":
        return torch.device(kind)
    place = int(index or os.environ.get("LOCAL_RANK", "0"))
    if place >= torch.cuda.device_count():
        raise UserError(
            f"process {place + 1} of this host has no CUDA device of its own: found "
            f"{torch.cuda.device_count()}; use fewer processes (compute.large_processes, "
            "compute.large_writers)"
        )
    return torch.device("cuda", place)


def peak_flops_per_second(where: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a large product of matrices: what MFU is measured against.

    A product of (n, n) by (n, n) costs 2 n^3; n is as large as keeps this within a second or so,
    also in a precision that a processor has no units for.
    """
    with torch.no_grad():
        for size in (256, 1024) if where.type == "cpu" else (8192,):
            seconds = _product_seconds(size, where, dtype)
            if seconds > SLOW:
                break
    return float(2 * size**3 / seconds)


def _product_seconds(size: int, where: torch.device, dtype: torch.dtype) -> float:
    left = torch.randn(size, size, dtype=dtype, device=where)
    out, best = torch.empty_like(left), float("inf")
    for _ in range(REPEATS):
        _wait(where)
        start = time.perf_counter()
        torch.mm(left, left, out=out)
        _wait(where)
        best = min(best, time.perf_counter() - start)
    return best


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    elif where.type == "mps":
        torch.mps.synchronize()


def free_memory_bytes(where: torch.device) -> int:
    """Memory that is free for activations: of the device, or of the machine or control group."""
    if where.type == "cuda":
        return int(torch.cuda.mem_get_info(where)[0])
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, KeyError):
        free = min(free, _fields("/proc/meminfo")["MemAvailable:"] * 1024)
    with contextlib.suppress(OSError, KeyError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        used -= _fields(group / "memory.stat")["inactive_file"]  # given back on demand
        free = min(free, max(limit - used, 0))
    return free


def _fields(path: str | Path) -> dict[str, int]:
    """The numbers of a file with a name and a number a line."""
    rows = (line.split() for line in Path(path).read_text(encoding="ascii").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}


def peak_memory_bytes(where: torch.device) -> int:
    """Largest resident memory of this process so far (device memory on CUDA)."""
    if where.type == "cuda":
        return int(torch.cuda.max_memory_allocated(where))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
