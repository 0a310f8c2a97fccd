"""The machine at hand: threads, allocator, device, and which precision is the quicker one."""

import contextlib
import ctypes
import os
import sys
import time

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


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
    """CUDA where there is one, the processor otherwise (SCALELAB_DEVICE overrides)."""
    chosen = os.environ.get("SCALELAB_DEVICE")
    if chosen:
        return torch.device(chosen)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, where: torch.device) -> str:
    """fp32 or bf16. `auto` measures a product of matrices in both."""
    if wanted != "auto":
        return wanted
    if where.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    plain = _seconds(torch.float32)
    # A processor without bf16 units is a hundred times slower in it: one product tells.
    if _seconds(torch.bfloat16, repeats=1) > 10 * plain:
        return "fp32"
    return "bf16" if plain > 1.5 * _seconds(torch.bfloat16) else "fp32"


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _seconds(dtype: torch.dtype, repeats: int = 4) -> float:
    """Least time of a (1024, 128) x (128, 512) product."""
    left = torch.ones(1024, 128, dtype=dtype)
    right = torch.ones(128, 512, dtype=dtype)
    best = float("inf")
    with torch.no_grad():
        for _ in range(repeats):
            start = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - start)
    return best


def peak_memory_bytes(where: torch.device) -> int:
    """Largest resident memory of this process so far (device memory on CUDA)."""
    if where.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
