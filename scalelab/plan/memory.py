"""Memory of one training process, by what holds it, from the specification of a run.

Parameters, gradients and AdamW's two moments are fp32 and flat (`scalelab.training.optimizer`):
4 + 4 + 8 = 16 bytes a parameter, no second copy of the weights beside them. Rajbhandari et al. 2019
(ZeRO, arXiv:1910.02054, section 3.1) count 16 too, as 2 + 2 + 12 for 16-bit weights and gradients
with fp32 masters. Split over P processes (FSDP, their stage 3, section 5.3) each holds a P-th of
the 16 bytes and gathers a block at a time. Activations are in `scalelab.plan.passes`,
of GPT-2's block: other families keep more or less of a block's inside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalelab.plan.families import Counts, Shape, count
from scalelab.plan.passes import FP32, LONGEST_BY_HAND, Pass, held, quick_sequences
from scalelab.plan.precisions import FP8, NARROW

INTERPRETER = 148 << 20
"""Bytes of python with torch 2.13 and this package loaded, before there is a model."""
ACCOUNTANT = 230 << 20
"""Bytes of Opacus with what it imports, and of what it finds the noise of a budget with: measured
for epsilon 2 and 8 at 244 steps, 181 and 242."""
LOADED_ON_CUDA = 1 << 30
"""Bytes of a device that its driver and its libraries of products take: assumed, not measured."""
HEAP, HEAP_OF_SCORES, CACHED = 1.5, 0.8, 1.1
"""What an allocator takes for each byte that lives, and on a processor besides for each byte of
products of queries and keys by hand. Measured for glibc before 2.38 (benchmarks/memory.py), which
rarely finds use for a freed block in a request of that size that is to be aligned. CACHED, of the
allocators of accelerators, is assumed."""
HEAP_CHECKPOINTED, LEFT_BY_HEAD = 2.65, 52 << 20
"""The same where blocks are computed again: what one leaves is of little use to the next, and what
the head leaves of none. A line through measured peaks of four cases, within 8% of two more."""
BUILDING_BYTES = 4
"""Bytes a parameter of the tensors that the flat ones are made from: the process keeps them and
later passes use them."""
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
    """What a pass holds at its worst moment, with what the allocator adds; on a CPU no less than
    what building the model has left free."""
    data: int
    """Tokens read ahead, and the order of the blocks of the corpus."""
    saving: int
    """A resume state while it is put together in the host's memory."""
    fixed: int
    """The interpreter with its libraries, or what they take of a device."""
    device: str
    """cpu, cuda or mps."""

    @property
    def model(self) -> int:
        """Parameters, gradients and moments."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def training(self) -> int:
        """Bytes of the device while it trains; of the process where the device is the CPU."""
        data = self.data if self.device == "cpu" else 0
        return self.fixed + self.model + self.activations + data

    @property
    def peak(self) -> int:
        """Bytes of the device at the worst moment. On a CPU that is when a state is saved: it is
        put together in one piece, for which what passes have left free is seldom whole."""
        return self.training + (self.saving if self.device == "cpu" else 0)

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
    measured (auto), the larger is assumed: fp32, and by hand on a processor up to 512 tokens. With
    a privacy budget attention holds all products of a sequence, as by hand.
    """
    training, shape = spec["training"], Shape(**spec["model"])
    processes = int(spec.get("processes", 1))
    sequences = training["batch_tokens"] // shape.context
    precision, apart = training["precision"], "dp" in training
    by_hand = (
        shape.family == "gpt2"
        and device == "cpu"
        and shape.context <= LONGEST_BY_HAND
        and precision not in ("fp16", *FP8)
    )
    narrow = precision in NARROW or (precision == "auto" and device == "cuda")
    how = Pass(
        sequences=micro or quick_sequences(shape, -(-sequences // processes), device),
        width=2 if narrow else FP32,
        by_hand=apart or (by_hand and not training.get("compile")),
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
        apart=apart,
    )


def of_process(
    shape: Shape,
    how: Pass,
    shards: int = 1,
    batch_tokens: int = 0,
    corpus_tokens: int = 0,
    apart: bool = False,
) -> Memory:
    """Memory of one process that computes passes so, of a model split over `shards` processes.

    apart: each sequence of a pass has a gradient of its own beside their sum, and on a processor
    the process has found the noise of its budget.
    """
    counts = count(shape)
    owned = -(-counts.n_total // shards)
    gathered = _gathered(shape, counts) if shards > 1 else 0
    ahead = max(AHEAD_TOKENS, batch_tokens)
    building = BUILDING_BYTES * counts.n_total if how.device == "cpu" else 0
    return Memory(
        parameters=FP32 * (owned + gathered),
        gradients=FP32 * (owned + gathered + (how.sequences * counts.n_total if apart else 0)),
        optimizer=2 * FP32 * owned,
        activations=max(_allocated(shape, how), building),
        data=BATCH_BYTES * ahead + 16 * batch_tokens + 8 * (corpus_tokens // shape.context),
        saving=STATE_BYTES * counts.n_total,
        fixed=(
            LOADED_ON_CUDA if how.device == "cuda" else INTERPRETER + (ACCOUNTANT if apart else 0)
        ),
        device=how.device,
    )


def _gathered(shape: Shape, counts: Counts) -> int:
    """Parameters that are whole while they are worked on: embeddings, norm and head until the
    backward pass is done, one block and the next, which is fetched ahead (Zhao et al. 2023,
    arXiv:2304.11277, section 4.3)."""
    return counts.n_total - counts.blocks + 2 * counts.blocks // shape.depth


def _allocated(shape: Shape, how: Pass) -> int:
    """Bytes of the activations with what the allocator adds: checkpointed no more than kept."""
    live = held(shape, how).peak
    if how.device != "cpu":
        return round(CACHED * live)
    if how.checkpointed:
        kept = _allocated(shape, replace(how, checkpointed=False))
        return min(round(HEAP_CHECKPOINTED * live) + LEFT_BY_HEAD, kept)
    scores = how.width * how.sequences * shape.context**2 * shape.heads * shape.depth
    return round(HEAP * live + (HEAP_OF_SCORES * scores if how.by_hand else 0))
