"""Sparse mixture of experts (Jiang et al. 2024): parameter and FLOP counts, without torch."""

from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape, register
from scalelab.plan.families.llama import attention_weights, swiglu_inner


def expert_inner(shape: Shape) -> int:
    """That of a Llama block over the experts that a token passes, rounded up to a multiple of 8: a
    token passes about as many weights as in a dense block of the width."""
    return 8 * -(-swiglu_inner(shape) // (8 * shape.option("active_experts")))


@register(
    "moe",
    exports="mixtral",
    kv_heads=lambda shape: shape.heads,
    inner=expert_inner,
    tied=lambda shape: False,
    experts=lambda shape: 8,
    active_experts=lambda shape: 2,
)
def counts(shape: Shape) -> Counts:
    """Counts of a Llama block stack whose MLPs are E experts, of which a token passes k.

    A block holds its attention, E d weights of the router, E times 3 d u of the experts, and 2 d of
    norms. A token passes k of the experts: FLOPs are those of its k, (E - k) 3 d u weights a layer
    are idle.

    Raises:
        UserError: more active experts than there are.
    """
    depth, width, vocab = shape.depth, shape.width, shape.vocab
    experts, active = shape.option("experts"), shape.option("active_experts")
    if active > experts:
        raise UserError(
            f"model.active_experts: found {active}, expected at most model.experts = {experts}"
        )
    one = 3 * width * shape.option("inner")
    shared = attention_weights(shape) + experts * width
    return Counts(
        token_embedding=vocab * width,
        position_embedding=0,
        head=0 if shape.option("tied") else vocab * width,
        blocks=depth * (shared + experts * one + 2 * width) + width,
        matmul_flops=2 * (depth * (shared + active * one) + vocab * width),
        attention_flops=depth * 4 * shape.context * width,
        idle=depth * (experts - active) * one,
    )
