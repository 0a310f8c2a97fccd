"""Parameter and FLOP counts of known models, on paper."""

from dataclasses import replace
from typing import Any

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
    with pytest.raises(UserError, match=r"found 'gpt9', expected one of \['bert', 'gpt2'"):
        count(Shape("gpt9", 1, 8, 2, 16, 257))


# --- Families -------------------------------------------------------------------------------------


def shape_of(family: str, **options: Any) -> Shape:
    """A small shape of four heads."""
    return replace(Shape(family, 2, 64, 4, 128, 512), **options)


def test_a_block_of_each_family_by_hand() -> None:
    d, wide = 64, 3 * 64 * 176  # 8 ceil(64 / 3) = 176
    llama = count(shape_of("llama", depth=1))
    assert llama.n == 4 * d * d + wide + 2 * d + d
    assert (llama.head, llama.position_embedding) == (512 * d, 0)
    assert count(shape_of("llama", tied=True)).head == 0
    # Two heads of 16 for keys and two for values in place of four.
    assert count(shape_of("llama", depth=1, kv_heads=2)).n == llama.n - 2 * d * d // 2
    gptj = count(shape_of("gptj", depth=1))
    assert gptj.n == 12 * d * d + 5 * d + 2 * d + 2 * d
    assert gptj.head == 512 * d + 512
    assert count(shape_of("gpt3", depth=1)).n == 12 * d * d + 6 * d + 4 * d + 2 * d
    moe = count(shape_of("moe", depth=1))
    assert moe.n == 4 * d * d + 8 * d + 8 * 3 * d * 88 + 2 * d + d
    assert moe.idle == 6 * 3 * d * 88


def test_mixtral_has_46_7_billion_parameters_and_uses_12_9() -> None:
    """Jiang et al. 2024, section 1: 47B parameters, 13B active."""
    shape = Shape("moe", 32, 4096, 32, 4096, 32000, kv_heads=8, inner=14336)
    counts = count(shape)
    assert counts.n_total == 46_702_792_704
    assert counts.n_total - counts.idle == 12_879_925_248


@pytest.mark.parametrize(
    ("band", "context", "keys"),
    # Chunks are the smallest divisors of the context that hold a band; two of them are computed.
    [(16, 128, 32), (17, 128, 64), (5, 24, 12), (64, 128, 128), (100, 128, 128), (1, 128, 2)],
)
def test_banded_layers_cost_the_keys_that_are_computed(band: int, context: int, keys: int) -> None:
    one, two, three = (
        count(shape_of("gpt3", depth=depth, band=band, context=context)).attention_flops
        for depth in (1, 2, 3)
    )
    assert one == 4 * 64 * context, "the first layer is dense"
    assert two == one + 4 * 64 * keys
    assert three == two + one


def test_a_specification_holds_the_options_that_differ_from_the_familys_own() -> None:
    plain = Shape("gpt2", 2, 64, 4, 128, 512).specification()
    assert plain == {
        **{"family": "gpt2", "depth": 2, "width": 64, "heads": 4, "context": 128, "vocab": 512},
        "mup_base": 0,
    }
    own = shape_of("llama", kv_heads=4, inner=176, tied=False)
    assert own.specification() == shape_of("llama").specification()
    assert shape_of("gpt3", band=16).specification() == shape_of("gpt3").specification()
    moe = shape_of("moe", experts=8, active_experts=4).specification()
    assert moe == {**shape_of("moe").specification(), "active_experts": 4}
    assert Shape(**moe) == shape_of("moe", active_experts=4)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (shape_of("gpt2", kv_heads=2), r"model\.kv_heads: found 2, but the family gpt2 has no"),
        (shape_of("llama", band=8), r"model\.band: found 8, but the family llama has no"),
        (shape_of("llama", mup_base=32), r"mup_base_width: found 32, .* llama has no muP"),
        (shape_of("llama", kv_heads=3), r"kv_heads: found 3, expected a divisor of .* = 4"),
        (shape_of("llama", width=20), r"model\.width: found heads of 5, expected an even"),
        (shape_of("gptj", width=4), r"model\.width: found heads of 1, expected at least 2"),
        (shape_of("moe", experts=2, active_experts=3), r"found 3, expected at most .*experts = 2"),
        (shape_of("gpt3", band=0), r"model\.band: found 0, expected at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(shape: Shape, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        count(shape)
