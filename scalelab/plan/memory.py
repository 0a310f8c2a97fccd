"""Memory of one training process, by what holds it, from the specification of a run.

Parameters, gradients and the two moments of AdamW are fp32 and flat (`scalelab.training.optimizer`):
4 + 4 + 8 = 16 bytes a parameter, no second copy of the weights beside them. Rajbhandari et al. 2019
(ZeRO, arXiv:1910.02054, section 3.1) count 16 too, as 2 + 2 + 12 for 16-bit weights and gradients
with fp32 masters. Split over P processes (FSDP, their stage 3, section 5.3) each holds a P-th of
the 16 bytes and gathers a block at a time. Activations are in `scalelab.plan.passes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalelab.plan.families import Counts, Shape, count
from scalelab.plan.passes import FP32, LONGEST_BY_HAND, Pass, held, quick_sequences

INTERPRETER = 148 << 20
"""Bytes of python with torch 2.13 and this package loaded, before there is a model."""
LOADED_ON_CUDA = 1 << 30
"""Bytes of a device that its driver and its libraries of products take: assumed, not measured."""
HEAP = {"cpu": 1.55, "mps": 1.1, "cuda": 1.1}
"""What an allocator takes over what lives. On a processor it is measured (benchmarks/memory.py):
glibc below 2.38 finds no use for a freed block in a request of that size that is to be aligned. On
accelerators, whose allocator keeps blocks by size, it is assumed."""
MAPPED = 32 << 20
"""Blocks from this size on the system gives one by one and takes back: nothing is added."""
BATCH_BYTES = 18
"""A token read ahead: its place and its value in 64 bits, and as it lies in the shard."""
AHEAD_TOKENS = 1 << 16
"""Tokens that are read at once (`scalelab.training.batches`)."""
STATE_BYTES = 12
"""Bytes a parameter of a resume state, which is put together in memory before it is written."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process, on the device that trains; `saving` and `data` lie on the host."""

    parameters: int
    """fp32 weights, or this process's shard and the block that is gathered."""
    gradients: int
    """fp32, likewise."""
    optimizer: int
    """AdamW's two moments, fp32."""
    activations: int
    """What a pass holds at its worst moment, with what the allocator adds."""
    data: int
    """Tokens read ahead, and the order of the blocks of the corpus."""
    saving: int
    """A resume state while it is put together; activations are free then."""
    fixed: int
    """The interpreter with its libraries, or what they take of a device."""
    device: str
    """cpu, cuda or mps."""

    @property
    def model(self) -> int:
        """Parameters, gradients and moments."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def peak(self) -> int:
        """Bytes of the device at the worst moment; of the process where the device is the CPU."""
        if self.device == "cpu":
            return self.fixed + self.model + self.data + max(self.activations, self.saving)
        return self.fixed + self.model + self.activations

    @property
    def host(self) -> int:
        """Bytes of the host's memory at the worst moment."""
        return self.peak if self.device == "cpu" else INTERPRETER + self.data + self.saving


def of_run(
    spec: Mapping[str, Any], device: str = "cpu", corpus_tokens: int = 0, micro: int | None = None
) -> Memory:
    """Memory of one process of a run, from the specification in its plan.

    corpus_tokens: of the training split, D of the run where it is 0. micro: sequences of a pass; as
    many as training takes where there is memory for them, unless given. Where precision or path are
    found by measurement (auto), the larger is assumed: fp32, by hand on a processor up to 512 tokens.
    """
    training, shape = spec["training"], Shape(**spec["model"])
    processes = int(spec.get("processes", 1))
    sequences = training["batch_tokens"] // shape.context
    precision = training["precision"]
    by_hand = device == "cpu" and shape.context <= LONGEST_BY_HAND and precision != "fp16"
    narrow = precision in ("bf16", "fp16") or (precision == "auto" and device == "cuda")
    how = Pass(
        sequences=micro or quick_sequences(shape, -(-sequences // processes), device),
        width=2 if narrow else FP32,
        by_hand=by_hand and not training.get("compile"),
        checkpointed=bool(training.get("checkpoint_activations")),
        documents=training.get("attention") == "documents",
        device=device,
    )
    tokens = corpus_tokens or training["batch_tokens"] * (training["steps"] or 0)
    return of_process(
        shape,
        how,
        shards=processes if spec.get("sharding") else 1,
        batch_tokens=training["batch_tokens"],
        corpus_tokens=tokens,
    )


def of_process(
    shape: Shape, how: Pass, shards: int = 1, batch_tokens: int = 0, corpus_tokens: int = 0
) -> Memory:
    """Memory of one process that computes passes so, of a model split over `shards` processes."""
    counts, held_bytes = count(shape), held(shape, how)
    owned = -(-counts.n_total // shards)
    gathered = _gathered(shape, counts) if shards > 1 else 0
    ahead = max(AHEAD_TOKENS, batch_tokens)
    return Memory(
        parameters=FP32 * (owned + gathered),
        gradients=FP32 * (owned + gathered),
        optimizer=2 * FP32 * owned,
        activations=round(held_bytes.peak * _heap(shape, how)),
        data=BATCH_BYTES * ahead + 16 * batch_tokens + 8 * (corpus_tokens // shape.context),
        saving=STATE_BYTES * counts.n_total,
        fixed=LOADED_ON_CUDA if how.device == "cuda" else INTERPRETER,
        device=how.device,
    )


def _gathered(shape: Shape, counts: Counts) -> int:
    """Parameters that are whole while they are worked on: embeddings, norm and head until the
    backward pass is done, one block and the next, which is fetched ahead (Zhao et al. 2023,
    arXiv:2304.11277, section 4.3)."""
    return counts.n_total - counts.blocks + 2 * counts.blocks // shape.depth


def _heap(shape: Shape, how: Pass) -> float:
    """What the allocator adds: nothing to blocks that are mapped one by one."""
    if how.device != "cpu":
        return HEAP[how.device]
    tokens = how.sequences * shape.context
    stream, inner = FP32 * tokens * shape.width, how.width * tokens * shape.width
    scores = how.width * tokens * shape.heads * shape.context if how.by_hand else 0
    blocks = [stream] * 2 + [inner] * 3 + [3 * inner] + [4 * inner] * 2 + [scores]
    small = sum(size for size in blocks if size < MAPPED)
    return 1 + (HEAP["cpu"] - 1) * small / sum(blocks)
