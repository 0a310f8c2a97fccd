"""Parameter and FLOP counts of known models, on paper."""

import pytest

from scalelab.errors import UserError
from scalelab.plan.families import Shape, count, names


def gpt2(width: int, depth: int, heads: int, vocab: int = 50257, context: int = 256) -> Shape:
    """A GPT-2 shape."""
    return Shape("gpt2", depth, width, heads, context, vocab)


def test_a_small_model_with_the_vocabulary_of_gpt2_is_nearly_all_embedding() -> None:
    counts = count(gpt2(128, 4, 4))
    assert counts.token_embedding == 6_432_896
    assert counts.position_embedding == 32_768
    assert counts.head == 0, "the tied head is not counted a second time"
    assert counts.n == 793_344
    assert counts.n_total == 7_259_008


def test_gpt2_small() -> None:
    counts = count(gpt2(768, 12, 12, context=1024))
    assert counts.n_total == 124_439_808
    # Hugging Face's count without the token embedding (85,842,432) keeps the 786,432 positions.
    assert counts.n == 124_439_808 - 50257 * 768 - 1024 * 768 == 85_056_000


def test_a_padded_vocabulary_is_counted_as_it_is_built() -> None:
    """Case T24."""
    assert count(gpt2(128, 4, 4, vocab=50304)).n_total == 7_265_024
    assert count(gpt2(128, 4, 4, vocab=50304)).n == 793_344


def test_the_head_costs_flops_though_it_is_tied_and_the_look_up_costs_none() -> None:
    counts = count(gpt2(128, 4, 4))
    head = 6 * 50257 * 128
    blocks = 6 * 4 * 12 * 128**2
    attention = 12 * 4 * 256 * 128
    assert head == 38_597_376
    assert blocks == 4_718_592
    assert counts.training_flops == head + blocks + attention
    assert 3 * counts.matmul_flops == head + blocks
    assert 3 * counts.attention_flops == attention


@pytest.mark.parametrize(
    ("width", "depth", "n"),
    # 12 L d^2 + 13 L d + 2 d
    [(32, 2, 25_472), (64, 3, 150_080), (256, 6, 4_739_072), (512, 8, 25_220_096)],
)
def test_non_embedding_parameters_by_hand(width: int, depth: int, n: int) -> None:
    assert count(gpt2(width, depth, 4)).n == n


def test_n_does_not_depend_on_vocabulary_or_context() -> None:
    one = count(gpt2(64, 3, 4, vocab=257, context=16))
    other = count(gpt2(64, 3, 4, vocab=65_536, context=1024))
    assert one.n == other.n
    assert one.n_total < other.n_total
    assert one.n + one.n_embedding + one.head == one.n_total


@pytest.mark.parametrize("family", names())
def test_every_family_grows_with_width_and_depth(family: str) -> None:
    small, wide, deep = (
        count(Shape(family, depth, width, 2, 16, 257))
        for depth, width in ((2, 16), (2, 32), (4, 16))
    )
    assert small.n < wide.n
    assert small.n < deep.n
    assert small.training_flops < wide.training_flops
    assert small.training_flops < deep.training_flops
    assert all(value >= 0 for value in vars(small).values())


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(UserError, match=r"multiple of model\.heads = 3"):
        count(gpt2(128, 4, 3))
    with pytest.raises(UserError, match=r"found 'gpt9', expected one of \['gpt2'"):
        count(Shape("gpt9", 1, 8, 2, 16, 257))
