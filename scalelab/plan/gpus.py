"""Accelerators by name: memory and the dense bf16 rate, as their makers' data sheets have them.

A data sheet's GB is read as 10^9 bytes. Drivers show somewhat more (an H100 of 80 GB: 79.6 GiB), so
what fits here fits there. Rates are dense: sheets that give them with sparsity give twice as much.
"""

from dataclasses import dataclass

from scalelab.errors import UserError


@dataclass(frozen=True)
class Gpu:
    """One accelerator."""

    name: str
    memory_bytes: int
    flops_per_second: float
    """Products of bf16 matrices with fp32 sums, dense, at most."""
    source: str
    """Where both numbers stand."""

    @property
    def memory_gib(self) -> float:
        """Its memory in GiB."""
        return self.memory_bytes / 2**30


def _of(name: str, gigabytes: float, teraflops: float, source: str) -> Gpu:
    return Gpu(name, round(gigabytes * 1e9), teraflops * 1e12, source)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _of("a100-40", 40, 312, "NVIDIA A100 data sheet, 2021"),
        _of("a100", 80, 312, "NVIDIA A100 data sheet, 2021 (80 GB)"),
        _of("h100", 80, 989.4, "NVIDIA H100 data sheet, 2022 (SXM; 1,979 with sparsity)"),
        _of("h200", 141, 989.4, "NVIDIA H200 data sheet, 2023 (SXM; 1,979 with sparsity)"),
        _of("b200", 180, 2250, "NVIDIA HGX B200 data sheet, 2024 (a GPU of 8; 4,500 sparse)"),
        _of("l40s", 48, 362, "NVIDIA L40S data sheet, 2023 (733 with sparsity)"),
        _of("mi300x", 192, 1307.4, "AMD Instinct MI300X data sheet, 2023"),
    )
}


def find(name: str, memory_gib: float | None = None, teraflops: float | None = None) -> Gpu:
    """An accelerator of the table, or one that is described by its memory and its rate.

    Raises:
        UserError: not in the table, and not described.
    """
    known = GPUS.get(name.lower())
    if known is None and (memory_gib is None or teraflops is None):
        raise UserError(
            f"--gpu {name}: expected one of {', '.join(GPUS)}, or --gpu-memory-gib and "
            "--gpu-tflops of another"
        )
    memory = (
        known.memory_bytes if memory_gib is None and known else round((memory_gib or 0) * 2**30)
    )
    rate = known.flops_per_second if teraflops is None and known else (teraflops or 0) * 1e12
    given = memory_gib is not None or teraflops is not None
    return Gpu(name.lower(), memory, rate, "given" if given or known is None else known.source)
