"""What one pass forward and backward holds in memory, counted from the code of the blocks.

Bytes of tensors that live at once; what an allocator adds is in `scalelab.plan.memory`. The method
is that of Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1), who count what each operation
keeps for its gradient: s b h (34 + 5 a s / h) bytes a layer of 16-bit numbers with dropout. Here
there is no dropout, the residual stream is fp32 in any precision, and the head is one function.

Letters: R tokens of the pass, D width, H heads, T context, V vocabulary, w bytes of a number.
"""

from dataclasses import dataclass

from scalelab.plan.families import Shape

LONGEST_BY_HAND = 512
"""Tokens up to which attention by hand holds all products of a sequence at once."""
MICRO_TOKENS = {"cpu": 4096, "mps": 16_384, "cuda": 131_072}
"""Tokens of one pass at most, by device: more gains no speed. A larger batch is summed up from
several."""
LOGITS_AT_ONCE = {"cpu": 2**21, "mps": 2**27, "cuda": 2**27}
"""Logits held at once by the output head (8 and 512 MiB in fp32)."""
FP32 = 4


@dataclass(frozen=True)
class Pass:
    """How a pass is computed: `width` bytes a number of the products, gradients by hand or by
    torch, blocks computed again in the backward pass or kept, attention within documents or not."""

    sequences: int
    width: int = FP32
    by_hand: bool = True
    checkpointed: bool = False
    documents: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Held:
    """Bytes of a pass. kept: for the gradients, all blocks; workspace: what is added to it at the
    worst moment."""

    kept: int
    workspace: int

    @property
    def peak(self) -> int:
        """Most bytes that live at once, parameters and their gradients left out."""
        return self.kept + self.workspace


def quick_sequences(shape: Shape, sequences: int, device: str) -> int:
    """Sequences of one pass where memory does not limit them, of those of a process."""
    return max(1, min(sequences, MICRO_TOKENS[device] // shape.context))


def held(shape: Shape, how: Pass) -> Held:
    """What a pass keeps and the most that it holds.

    The worst moment is one of four: the head's loss, the backward passes of the last block's MLP
    and of its attention, and the gradient of the embedding at the end. Of them all blocks' memory
    is held in the first three, less what the MLP has given back in the third.
    """
    stream = FP32 * how.sequences * shape.context * shape.width
    attention, mlp = _attention_kept(shape, how), _mlp_kept(shape, how)
    block = attention + mlp
    # Each block's input is kept; so is that of the final norm.
    kept = shape.depth * (stream if how.checkpointed else block) + stream
    again = block - stream if how.checkpointed else 0
    embedding = FP32 * shape.vocab * shape.width
    moments = (
        _head(shape, how),
        again + embedding + _mlp_backward(shape, how),
        again - mlp + embedding + _attention_backward(shape, how),
        3 * embedding + stream - kept,
    )
    return Held(kept, max(moments))


def _inner(shape: Shape, how: Pass) -> int:
    """w R D."""
    return how.width * how.sequences * shape.context * shape.width


def _attention_kept(shape: Shape, how: Pass) -> int:
    """4 R D of the stream, 5 w R D (norm, queries, keys, values, mixed) and mean and deviation.

    By hand w H T R of weights; by torch's fused kernel 4 H R of their sums alone (Dao et al. 2022)
    and w T R where a mask tells documents. A product in 16 bits keeps its copy of the weights.
    """
    tokens = how.sequences * shape.context
    scores = tokens * (how.width * shape.heads * shape.context if how.by_hand else 4 * shape.heads)
    mask = how.width * tokens * shape.context if how.documents and not how.by_hand else 0
    copies = 0 if how.width == FP32 else how.width * 4 * shape.width**2
    return (
        FP32 * tokens * shape.width + 5 * _inner(shape, how) + 8 * tokens + scores + mask + copies
    )


def _mlp_kept(shape: Shape, how: Pass) -> int:
    """4 R D of the stream, 9 w R D (norm; by hand GELU and its slope, by torch its two sides)."""
    tokens = how.sequences * shape.context
    copies = 0 if how.width == FP32 else how.width * 8 * shape.width**2
    return FP32 * tokens * shape.width + 9 * _inner(shape, how) + 8 * tokens + copies


def _head(shape: Shape, how: Pass) -> int:
    """Hidden states and their gradient; of a chunk the logits and probabilities, beside those of
    the chunk before; the gradient of the head, and what a chunk adds to it."""
    tokens = how.sequences * shape.context
    stream, head = FP32 * tokens * shape.width, FP32 * shape.vocab * shape.width
    rows = min(tokens, max(1, LOGITS_AT_ONCE[how.device] // shape.vocab))
    chunks, logits, narrow = -(-tokens // rows), FP32 * rows * shape.vocab, how.width < FP32
    copies = how.width * shape.vocab * (shape.width + rows) if narrow else 0
    if chunks == 1:
        return 2 * stream + copies + max(2 * logits, logits + head)
    before = logits * (how.width if narrow else FP32) // FP32 + head
    added = head * how.width // FP32 if chunks > 2 or narrow else 0
    return 2 * stream + copies + before + max(added + 2 * logits, logits + head)


def _mlp_backward(shape: Shape, how: Pass) -> int:
    """Gradients of the stream and of the inner activations; of both matrices by hand."""
    stream, inner = FP32 * how.sequences * shape.context * shape.width, _inner(shape, how)
    matrix = 4 * shape.width**2
    if not how.by_hand:
        return stream + 4 * inner + inner + FP32 * matrix
    return 3 * stream + 4 * inner + 2 * matrix * how.width


def _attention_backward(shape: Shape, how: Pass) -> int:
    """By hand products of queries and keys twice, or once beside the gradients of all three; by
    torch three gradients, each spread over a zeroed copy of the three."""
    tokens = how.sequences * shape.context
    stream, inner = FP32 * tokens * shape.width, _inner(shape, how)
    if not how.by_hand:
        return stream + inner + 12 * inner
    scores = how.width * tokens * shape.heads * shape.context
    return stream + 2 * inner + scores + max(scores, 6 * inner) + how.width * shape.width**2
