"""T5 (Raffel et al. 2020): parameter and FLOP counts, without torch."""

from scalelab.plan.families import Counts, Shape, register
from scalelab.plan.objectives import decoded_tokens, encoded_tokens, spans

BUCKETS = 32
"""Distances that a relative position tells apart, for each head of encoder and decoder."""


def extra_tokens(context: int) -> int:
    """Tokens beside the vocabulary: one stands for each span, and one for the end."""
    return spans(context) + 1


@register("t5", exports="t5", objective="spans")
def counts(shape: Shape) -> Counts:
    """Counts of an encoder and a decoder of L blocks each, with ReLU and a tied head.

    A block of the encoder holds 12 d^2 weights and 2 d of norms, one of the decoder 16 d^2 and 3 d;
    each side has a last norm and 32 H numbers for relative positions. Nothing has a bias. Of a
    block of T tokens the encoder reads R and the decoder predicts P
    (`scalelab.plan.objectives`): FLOPs are those of R and P, told per token of the block and
    rounded to whole FLOPs. Each of the R passes 12 d^2 weights of the encoder and 2 d^2 that make
    keys and values of its output, each of the P the other 14 d^2 of the decoder.
    """
    depth, width, context = shape.depth, shape.width, shape.context
    vocab = shape.vocab + extra_tokens(context)
    read, told = encoded_tokens(context), decoded_tokens(context)
    matrices = depth * 14 * (read + told) * width**2 + told * vocab * width
    attention = depth * 4 * width * (read**2 + told**2 + told * read)
    return Counts(
        token_embedding=vocab * width,
        position_embedding=0,
        head=0,
        blocks=depth * (28 * width**2 + 5 * width) + 2 * width + 2 * BUCKETS * shape.heads,
        matmul_flops=round(2 * matrices / context),
        attention_flops=round(attention / context),
    )
