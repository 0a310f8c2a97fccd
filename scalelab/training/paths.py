"""How a model is computed on the machine at hand: chosen by measurement, once, and remembered.

Two choices: the precision of the products, and whether gradients are by hand
(`scalelab.models.layers.sublayers`) or by torch. Neither processor names nor sizes decide: a model
of one block is stepped in each way. What was found is kept for the user, so that runs of one
shape on one machine are computed alike: equal bits need equal paths.
"""

import contextlib
import dataclasses
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from scalelab.errors import UserError
from scalelab.files import cache_file, digest, write_json
from scalelab.models import build
from scalelab.models.registry import LanguageModel, get
from scalelab.plan.families import Shape
from scalelab.plan.passes import LONGEST_BY_HAND
from scalelab.plan.precisions import FP8

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    # Of what `fp8` leaves as it is.
    "fp8": torch.bfloat16,
    "fp8_emulated": torch.bfloat16,
}
FORMAT = 1
"""Raised when the ways themselves change, so that old measurements are not taken."""
TOKENS = 512
"""Tokens of a measured step, at least one sequence."""
SECONDS, REPEATS = 0.4, 5
"""A way is timed that often at most, and no more once it has taken this long."""
HOPELESS = 10
"""A precision whose product is so many times slower is not stepped at all."""
GAIN = {"by_hand": 1.1, "precision": 1.3}
"""How many times as fast a way must be to replace the first choice: near ties would be decided by
noise, anew on each machine."""


@dataclass(frozen=True)
class ComputePath:
    """Precision of the products, and whether the gradients are those written by hand."""

    precision: str
    by_hand: bool

    def apply(self, model: LanguageModel) -> None:
        """Have a model compute this way."""
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        model.head_dtype = DTYPES[self.precision]
        model.by_hand = DTYPES[self.precision] if self.by_hand else None


def choose(shape: Shape, wanted: str, where: torch.device) -> ComputePath:
    """The quickest path for a shape with a precision, or with the quickest one for `auto`.

    Raises:
        UserError: tf32 on a device that has none.
    """
    if wanted == "tf32" and not _has_tf32(where):
        raise UserError(
            f"training.precision: found tf32, which {where.type} does not have here; expected "
            "fp32, bf16, fp16 or auto"
        )
    if where.type != "cpu" or wanted in FP8:
        return ComputePath(_of_accelerator(where) if wanted == "auto" else wanted, False)
    one_block = dataclasses.replace(shape, depth=1)
    key = digest(
        [
            *(one_block.specification(), wanted, torch.get_num_threads()),
            *(torch.__version__, processor(), FORMAT),
        ]
    )
    memory = _memory()
    # Under a lock: of two jobs that start together, the second takes what the first found.
    with _held(memory):
        known = _read(memory).get(key)
        if known is None:
            known = dataclasses.asdict(_measure(one_block, wanted))
            _remember(memory, {**_read(memory), key: known})
    return ComputePath(**known)


def _measure(shape: Shape, wanted: str) -> ComputePath:
    """The first choice is fp32 with gradients by hand; another must be clearly quicker."""
    # In fp16 the cube of the GELU by hand overflows beyond 256.
    hand = [True, False] if shape.context <= LONGEST_BY_HAND and wanted != "fp16" else [False]
    precisions = [wanted] if wanted != "auto" else ["fp32"]
    if not get(shape.family).by_hand:
        hand = [False]
    if wanted == "auto" and not _hopeless(torch.bfloat16):
        precisions.append("bf16")
    best: ComputePath | None = None
    least = float("inf")
    for precision in precisions:
        for by_hand in hand:
            path = ComputePath(precision, by_hand)
            seconds = _seconds(shape, path)
            changes = "precision" if best and best.precision != precision else "by_hand"
            if best is None or seconds * GAIN[changes] < least:
                best, least = path, seconds
    assert best is not None
    return best


def _seconds(shape: Shape, path: ComputePath) -> float:
    """Least time of a forward and backward pass."""
    model = build(shape, seed=0)
    path.apply(model)
    count = max(1, TOKENS // shape.context)
    tokens = torch.arange(count * shape.context).view(count, -1) % shape.vocab
    best, started = float("inf"), time.perf_counter()
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        with autocast(torch.device("cpu"), path):
            loss = model(tokens, tokens)
        loss.backward()
        best = min(best, time.perf_counter() - begin)
        if time.perf_counter() - started > SECONDS:
            break
    return best


def autocast(where: torch.device, path: ComputePath) -> Any:
    """The context of a forward pass. Gradients by hand cast for themselves."""
    dtype = DTYPES[path.precision]
    if path.by_hand or dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(where.type, dtype=dtype)


def _hopeless(dtype: torch.dtype) -> bool:
    """Whether a processor has no units for it: a hundred times slower, so one product tells."""
    return _product(dtype, 1) > HOPELESS * _product(torch.float32, 3)


def _product(dtype: torch.dtype, repeats: int) -> float:
    """Least seconds of a (1024, 128) x (128, 512) product."""
    left, right = torch.ones(1024, 128, dtype=dtype), torch.ones(128, 512, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return best


def _of_accelerator(where: torch.device) -> str:
    if where.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"


def _has_tf32(where: torch.device) -> bool:
    return where.type == "cuda" and torch.cuda.get_device_capability(where) >= (8, 0)


def processor() -> str:
    """The processor's own name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> Path:
    """The file that keeps what was measured, in the user's cache folder."""
    return cache_file("paths.json")


def _read(memory: Path) -> dict[str, Any]:
    """What was measured so far; nothing where the file is not there or not whole."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        return {key: value for key, value in known.items() if _is_path(value)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _is_path(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"precision", "by_hand"}
        and value["precision"] in DTYPES
        and isinstance(value["by_hand"], bool)
    )


@contextlib.contextmanager
def _held(memory: Path) -> Iterator[None]:
    """Hold the memory's lock. A folder that cannot be written to costs another measurement, no
    more."""
    lock = FileLock(memory.with_suffix(".lock"))
    with contextlib.suppress(OSError, Timeout):
        memory.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=60)
    try:
        yield
    finally:
        lock.release()


def _remember(memory: Path, known: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        write_json(memory, known)
