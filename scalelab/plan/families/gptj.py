"""GPT-J (Wang and Komatsuzaki 2021): parameter and FLOP counts of the shape, without torch."""

from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape, register


def rotary_width(shape: Shape) -> int:
    """Numbers of a head that turn with its position: a quarter, as in GPT-J (64 of 256), in pairs.

    Raises:
        UserError: a head of one number.
    """
    head = shape.width // shape.heads
    if head < 2:
        raise UserError(
            f"model.width: found heads of {head}, expected at least 2, since the family gptj turns "
            "pairs of numbers by their position"
        )
    return 2 * max(1, head // 8)


@register("gptj", exports="gptj")
def counts(shape: Shape) -> Counts:
    """Counts of a GPT-J block stack of depth L and width d.

    A block holds 12 d^2 weights (attention 4 d^2, MLP 8 d^2), 5 d biases of the MLP and 2 d of its
    one LayerNorm; there are no learned positions, and the head is a matrix of its own with a bias.
    FLOPs as for GPT-2; the bias of the head is computed as one column more of its product, 2 V.
    """
    rotary_width(shape)
    depth, width, vocab = shape.depth, shape.width, shape.vocab
    matrices = depth * 12 * width * width
    head = vocab * width + vocab
    return Counts(
        token_embedding=vocab * width,
        position_embedding=0,
        head=head,
        blocks=matrices + depth * 7 * width + 2 * width,
        matmul_flops=2 * (matrices + head),
        attention_flops=depth * 4 * shape.context * width,
    )
