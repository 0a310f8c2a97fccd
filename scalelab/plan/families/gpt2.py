"""GPT-2 (Radford et al. 2019): parameter and FLOP counts of the shape, without torch."""

from scalelab.plan.families import Counts, Shape, register


@register("gpt2", exports="gpt2", mup=True)
def counts(shape: Shape) -> Counts:
    """Counts of a GPT-2 block stack of depth L and width d with tied embeddings.

    A block holds 12 d^2 weights (attention 4 d^2, MLP 8 d^2), 9 d biases and 4 d of its two
    LayerNorms. Per token and forward pass a matrix of m weights costs 2 m FLOPs; the products of
    queries, keys and values cost 4 T d a layer over the full T x T square, as it is computed;
    the output head costs 2 V d whether tied or not; looking an embedding up costs nothing.
    """
    depth, width, context, vocab = shape.depth, shape.width, shape.context, shape.vocab
    matrices = depth * 12 * width * width
    return Counts(
        token_embedding=vocab * width,
        position_embedding=context * width,
        head=0,
        blocks=matrices + depth * 13 * width + 2 * width,
        matmul_flops=2 * (matrices + vocab * width),
        attention_flops=depth * 4 * context * width,
    )
