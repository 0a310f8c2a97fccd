"""Llama (Touvron et al. 2023): parameter and FLOP counts of the shape, without torch."""

from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape, register


def swiglu_inner(shape: Shape) -> int:
    """8/3 of the width, so that three matrices have the weights of GPT-2's two of 4 d (Shazeer
    2020, section 2), rounded up to a multiple of 8."""
    return 8 * -(-shape.width // 3)


def attention_weights(shape: Shape) -> int:
    """Weights of one layer's attention: queries and output d^2 each, keys and values as many
    columns as they have heads.

    Raises:
        UserError: heads that cannot share keys and values, or of an odd width.
    """
    head, kv_heads = shape.width // shape.heads, shape.option("kv_heads")
    if head % 2:
        raise UserError(
            f"model.width: found heads of {head}, expected an even number, since the family "
            f"{shape.family} turns pairs of numbers by their position"
        )
    if shape.heads % kv_heads:
        raise UserError(
            f"model.kv_heads: found {kv_heads}, expected a divisor of model.heads = {shape.heads}"
        )
    return 2 * shape.width**2 + 2 * shape.width * kv_heads * head


@register(
    "llama",
    exports="llama",
    kv_heads=lambda shape: shape.heads,
    inner=swiglu_inner,
    tied=lambda shape: False,
)
def counts(shape: Shape) -> Counts:
    """Counts of a Llama block stack of depth L and width d.

    A block holds its attention, 3 d u weights of an MLP of inner width u, and 2 d of its two
    RMSNorms; there are no biases and no learned positions. FLOPs as for GPT-2: 2 a weight of a
    product, 4 T d a layer for attention over the full square (heads that share keys and values save
    none), 2 V d for the head.
    """
    depth, width, vocab = shape.depth, shape.width, shape.vocab
    matrices = depth * (attention_weights(shape) + 3 * width * shape.option("inner"))
    return Counts(
        token_embedding=vocab * width,
        position_embedding=0,
        head=0 if shape.option("tied") else vocab * width,
        blocks=matrices + depth * 2 * width + width,
        matmul_flops=2 * (matrices + vocab * width),
        attention_flops=depth * 4 * shape.context * width,
    )
