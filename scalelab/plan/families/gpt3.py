"""GPT-3 (Brown et al. 2020): parameter and FLOP counts of the shape, without torch.

Its layers alternate between dense and locally banded attention (section 2.1, after Child et al.
2019). The paper gives no width of the band; an eighth of the context is that of GPT-Neo.
"""

from scalelab.errors import UserError
from scalelab.plan.families import Counts, Shape, register


def chunk_of(band: int, context: int) -> int:
    """Tokens of a chunk in which banded attention is computed: the smallest divisor of the context
    that holds a band. A token then sees its band within its own chunk and the one before."""
    return next(size for size in range(min(band, context), context + 1) if context % size == 0)


def keys_seen(shape: Shape) -> int:
    """Keys that are multiplied with each query of a banded layer.

    Raises:
        UserError: a band of no token.
    """
    band = shape.option("band")
    if band < 1:
        raise UserError(f"model.band: found {band}, expected at least 1 token")
    return min(2 * chunk_of(band, shape.context), shape.context)


@register("gpt3", exports="gpt_neo", band=lambda shape: max(1, shape.context // 8))
def counts(shape: Shape) -> Counts:
    """Counts of a block stack of depth L and width d with tied embeddings.

    A block holds 12 d^2 weights, 6 d biases (queries, keys and values have none, as in GPT-Neo) and
    4 d of its two LayerNorms. Of the L layers every second is banded: 4 K d FLOPs a token for the K
    keys that are computed, 4 T d in the dense ones; the rest as for GPT-2.
    """
    depth, width, vocab, context = shape.depth, shape.width, shape.vocab, shape.context
    matrices = depth * 12 * width * width
    banded = depth // 2
    return Counts(
        token_embedding=vocab * width,
        position_embedding=context * width,
        head=0,
        blocks=matrices + depth * 10 * width + 2 * width,
        matmul_flops=2 * (matrices + vocab * width),
        attention_flops=4 * width * ((depth - banded) * context + banded * keys_seen(shape)),
    )
