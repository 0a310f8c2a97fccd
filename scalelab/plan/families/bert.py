"""BERT (Devlin et al. 2019): parameter and FLOP counts, without torch."""

from scalelab.plan.families import Counts, Shape, register
from scalelab.plan.objectives import hidden_tokens

SEGMENTS = 2
"""Rows of the embedding that tells first and second sentence; here all text is the first."""
EXTRA = 1
"""Tokens beside the vocabulary: the mask."""


@register("bert", exports="bert", objective="masked")
def counts(shape: Shape) -> Counts:
    """Counts of a stack of post-norm blocks with a tied head.

    A block holds 12 d^2 weights, 9 d biases and 4 d of two LayerNorms; N has the norm of the
    embeddings, 2 d, and the layer before the head, d^2 + 3 d, as well. The vocabulary has one token
    more, the mask; the head has a bias for each. Only hidden tokens pass the head: a block of T
    with m of them costs m (2 d^2 + 2 V d) there, told per token of the block and rounded to whole
    FLOPs.
    """
    depth, width, context = shape.depth, shape.width, shape.context
    vocab = shape.vocab + EXTRA
    head = hidden_tokens(context) * 2 * (width**2 + vocab * width)
    return Counts(
        token_embedding=vocab * width,
        position_embedding=(context + SEGMENTS) * width,
        head=vocab,
        blocks=depth * (12 * width**2 + 13 * width) + width**2 + 5 * width,
        matmul_flops=depth * 24 * width**2 + round(head / context),
        attention_flops=depth * 4 * context * width,
    )
