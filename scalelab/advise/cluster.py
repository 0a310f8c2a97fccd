"""Runs on a cluster of accelerators: memory, layout, hours, storage and cost, by size.

Nothing is measured here. Memory is that of `scalelab.plan.memory`, FLOPs are the exact ones of the
family, and hours follow from an assumed share of the accelerator's rate (MFU, Chowdhery et al.
2022, arXiv:2204.02311, appendix B).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scalelab.plan.estimate import LINES, METRIC_BYTES, RUN_BYTES, WEIGHT_BYTES
from scalelab.plan.families import Counts, Shape, count
from scalelab.plan.gpus import Gpu
from scalelab.plan.memory import STATE_BYTES, Memory, of_process
from scalelab.plan.passes import FP32, Pass, quick_sequences

USABLE = 0.9
"""Share of a GPU's memory that is planned with: the rest is for communication and unevenness."""
STATES_KEPT = 2
"""Resume states that a run keeps; a third stands beside them while it is written."""


@dataclass(frozen=True)
class Cluster:
    """What there is. rate: dollars for an hour of one GPU, None where it is not known; mfu: share
    of its rate that training reaches; days: how long one run may take."""

    gpu: Gpu
    gpus_per_node: int = 8
    mfu: float = 0.4
    days: float = 30.0
    rate: float | None = None


@dataclass(frozen=True)
class Job:
    """Runs of one size and length."""

    shape: Shape
    counts: Counts
    tokens: int
    batch_tokens: int
    steps: int
    precision: str = "auto"
    documents: bool = False
    runs: int = 1

    @property
    def sequences(self) -> int:
        """Of a batch of all processes."""
        return self.batch_tokens // self.shape.context

    @property
    def flops(self) -> int:
        """C of one run."""
        return self.tokens * self.counts.training_flops


@dataclass(frozen=True)
class Layout:
    """How one run is spread. micro: sequences of a pass on one GPU; memory: of one GPU."""

    sharded: bool
    recomputed: bool
    gpus: int
    micro: int
    memory: Memory

    @property
    def name(self) -> str:
        """In words."""
        kind = "FSDP, checkpointed" if self.sharded else "data parallel"
        return kind if self.gpus > 1 else "one GPU"


@dataclass(frozen=True)
class Row:
    """One size: what it takes on the cluster. layout is None where nothing fits, and `notes` says
    why. hours: of GPUs, one run; days: of one run; storage in bytes, one run."""

    job: Job
    layout: Layout | None
    gpu_hours: float
    days: float
    checkpoint_bytes: int
    states_bytes: int
    records_bytes: int
    notes: tuple[str, ...]


def jobs(specs: Iterable[Mapping[str, Any]]) -> list[Job]:
    """The distinct sizes and lengths of some specifications, ascending in N and in D."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for spec in specs:
        training = spec["training"]
        key = (*spec["model"].items(), training["steps"], training["batch_tokens"])
        found.setdefault(key, []).append(spec)
    out = []
    for same in found.values():
        shape, training = Shape(**same[0]["model"]), same[0]["training"]
        out.append(
            Job(
                shape=shape,
                counts=count(shape),
                tokens=training["steps"] * training["batch_tokens"],
                batch_tokens=training["batch_tokens"],
                steps=training["steps"],
                precision=training["precision"],
                documents=training.get("attention") == "documents",
                runs=len(same),
            )
        )
    return sorted(out, key=lambda job: (job.counts.n, job.tokens))


def row(job: Job, cluster: Cluster) -> Row:
    """What one size takes."""
    layout, notes = _layout(job, cluster)
    hours = days = math.nan
    if layout is not None:
        hours = gpu_hours(job, cluster, layout.recomputed)
        days = hours / layout.gpus / 24
        if days > cluster.days:
            notes.append(
                f"N = {job.counts.n:.3g} takes {days:,.0f} days on {layout.gpus:,} GPUs, more than "
                f"--days {cluster.days:g}: its batch of {job.sequences:,} sequences is shared by "
                "no more; raise training.batch_tokens or lower D"
            )
    return Row(
        job=job,
        layout=layout,
        gpu_hours=hours,
        days=days,
        checkpoint_bytes=WEIGHT_BYTES * job.counts.n_total,
        states_bytes=(STATES_KEPT + 1) * STATE_BYTES * job.counts.n_total,
        records_bytes=RUN_BYTES + METRIC_BYTES * min(job.steps, LINES),
        notes=tuple(notes),
    )


def gpu_hours(job: Job, cluster: Cluster, recomputed: bool) -> float:
    """Hours of one GPU, all of a run's together.

    With activation checkpointing the blocks go forward once more, and `mfu` is taken of all that is
    computed: it is then what Korthikanti et al. 2022 call hardware utilisation (section 5).
    """
    flops = float(job.flops)
    if recomputed:
        head = 2 * job.shape.vocab * job.shape.width
        flops += job.tokens * (job.counts.matmul_flops - head + job.counts.attention_flops)
    return flops / (cluster.gpu.flops_per_second * cluster.mfu) / 3600


def shard_bytes(all_jobs: Iterable[Job]) -> int:
    """Tokens of the longest run as the corpus keeps them: 2 bytes each up to 65,536 ids, else 4."""
    return max(job.tokens * (2 if job.shape.vocab <= 65_536 else 4) for job in all_jobs)


def _layout(job: Job, cluster: Cluster) -> tuple[Layout | None, list[str]]:
    """Data parallel while it fits; then sharded and checkpointed, on more GPUs if need be."""
    room = USABLE * cluster.gpu.memory_bytes
    found = _fitting(job, _spread(job, cluster, sharded=False), room, sharded=False)
    if found is not None:
        return found, []
    allowed, least = _counts(job, cluster), _spread(job, cluster, sharded=True)
    for gpus in (gpus for gpus in allowed if gpus >= max(least, 2)):
        found = _fitting(job, gpus, room, sharded=True)
        if found is not None:
            return found, _unequal(job, gpus)
    memory = memory_on(job, allowed[-1], 1, sharded=allowed[-1] > 1)
    return None, [
        f"N = {job.counts.n:.3g} does not fit: {memory.peak / 2**30:,.1f} GiB of each of "
        f"{allowed[-1]:,} GPUs (as many as a batch of {job.sequences:,} sequences is shared by), "
        f"found {room / 2**30:,.1f} usable GiB of a {cluster.gpu.name}"
    ]


def _unequal(job: Job, gpus: int) -> list[str]:
    """Sharded processes need equal shares of a batch (`compute.sharding`)."""
    shares = -(-job.sequences // gpus)
    if shares * gpus == job.sequences:
        return []
    return [
        f"N = {job.counts.n:.3g}: {gpus:,} sharded GPUs need equal shares of a batch, so "
        f"training.batch_tokens is to be {shares * gpus * job.shape.context:,} instead of "
        f"{job.batch_tokens:,}"
    ]


def memory_on(job: Job, gpus: int, micro: int, sharded: bool) -> Memory:
    """Memory of one of the GPUs."""
    narrow = job.precision not in ("fp32", "tf32")
    how = Pass(
        sequences=micro,
        width=2 if narrow else FP32,
        by_hand=False,
        checkpointed=sharded,
        documents=job.documents,
        device="cuda",
    )
    shards = gpus if sharded else 1
    return of_process(job.shape, how, shards, job.batch_tokens, job.tokens)


def _fitting(job: Job, gpus: int, room: float, sharded: bool) -> Layout | None:
    """The largest pass that fits, halved from the quick one down to one sequence."""
    micro = quick_sequences(job.shape, -(-job.sequences // gpus), "cuda")
    while True:
        memory = memory_on(job, gpus, micro, sharded)
        if memory.peak <= room:
            return Layout(sharded, sharded, gpus, micro, memory)
        if micro == 1:
            return None
        micro //= 2


def _spread(job: Job, cluster: Cluster, sharded: bool) -> int:
    """The fewest GPUs that end the run in time, or as many as its batch allows."""
    wanted = gpu_hours(job, cluster, sharded) / 24 / cluster.days
    allowed = _counts(job, cluster)
    return next((gpus for gpus in allowed if gpus >= wanted), allowed[-1])


def _counts(job: Job, cluster: Cluster) -> list[int]:
    """Numbers of GPUs that can share a batch: parts of a node that divide it, then whole nodes."""
    node = cluster.gpus_per_node
    parts = [part for part in range(1, node) if node % part == 0]
    nodes = range(node, job.sequences + 1, node)
    return [gpus for gpus in (*parts, *nodes) if gpus <= job.sequences]
