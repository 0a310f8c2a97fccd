"""Compression: what is rounded and cut, in each way to keep weights, against other answers."""

import numpy as np
import pytest
import torch

from scalelab.evaluation.measures import Subject, pruned, quantised
from scalelab.evaluation.measures._weights import changed, count, matrices, put, rows_of

ENDS = {"vocab_size": 24, "bos_token_id": 0, "eos_token_id": 0}
MIXTRAL = {
    **{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4},
}
KINDS = {
    "GPT2": {"n_layer": 2, "n_embd": 8, "n_head": 2, "n_positions": 16},
    "GPTNeo": {
        **{"hidden_size": 8, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 16},
        "attention_types": [[["global", "local"], 1]],
    },
    "GPTJ": {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 16, "rotary_dim": 4},
    "GPTNeoX": {
        **{"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"intermediate_size": 32, "max_position_embeddings": 16},
    },
    "Llama": {name: MIXTRAL[name] for name in MIXTRAL if name != "num_local_experts"},
    "Mixtral": MIXTRAL,
}
OPT = {
    **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16},
    **{"max_position_embeddings": 16, "word_embed_proj_dim": 8, "pad_token_id": 1},
}
"""A family that keeps its MLP in the block itself."""
MATRICES = {"GPT2": 8, "GPTNeo": 12, "GPTJ": 6, "GPTNeoX": 8, "Llama": 7, "Mixtral": 6}
"""Of all blocks; experts count as two, one for what they read and one for what they write."""


def model_of(kind):
    import transformers

    torch.manual_seed(3)
    name = f"{kind}ForCausalLM" if kind != "GPT2" else "GPT2LMHeadModel"
    config = getattr(transformers, f"{kind}Config")(**{"OPT": OPT, **KINDS}[kind], **ENDS)
    return getattr(transformers, name)(config).eval()


def subject(model):
    text = np.random.default_rng(1).integers(1, 24, (12, 17))
    return Subject(model, text, lambda seen: text, np.arange(24), 0, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_those_of_blocks_and_come_back_as_they_were(kind):
    model = model_of(kind)
    found = matrices(model)
    assert len(found) == MATRICES[kind]
    assert not [name for name in found if any(s in name for s in ("wte", "wpe", "embed", "head"))]
    assert not [name for name in found if name.endswith("gate.weight")]
    assert sum(count(model)) == sum(weight.numel() for weight in model.parameters())
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for name, weight in found.items():
        put(model, name, rows_of(model, name, weight.detach()))
    assert all(torch.equal(before[n], w) for n, w in model.named_parameters())
    with changed(model, lambda: pruned.thin(model, 0.5)):
        assert not torch.equal(before[name], found[name])
    assert all(torch.equal(before[n], w) for n, w in model.named_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_masks_have_the_share_and_the_place_that_they_say(kind):
    model = model_of(kind)
    for change, share in ((lambda: pruned.thin(model, 0.25), 0.25), (two(model), 0.5)):
        with changed(model, change):
            for name, weight in matrices(model).items():
                assert float((weight == 0).double().mean()) == pytest.approx(share), name
    with changed(model, lambda: pruned.narrow(model, 0.25)):
        cut = {name: weight for name, weight in matrices(model).items() if (weight == 0).any()}
        assert len(cut) == (model_of(kind).config.num_hidden_layers)
        for name, weight in cut.items():
            assert float((weight == 0).double().mean()) == pytest.approx(0.25), name
            # Whole columns of (outputs, inner channels), in each expert its own.
            rows = rows_of(model, name, weight.detach()).reshape(-1, 8, weight_inner(kind))
            assert ((rows == 0).all(dim=1).sum(dim=1) == weight_inner(kind) // 4).all()


@pytest.mark.parametrize("kind", [*KINDS, "OPT"])
def test_channels_are_cut_where_they_are_known_and_left_out_elsewhere(kind):
    """Zero damage would be said of MLPs whose channels were never found."""
    found = pruned.pruned(subject(model_of(kind)))
    told = {name for name in found if name.startswith("channels")}
    assert told == (set() if kind == "OPT" else {f"channels{n}_excess_nats" for n in (12, 25, 50)})
    assert all(found[name].value != 0 for name in told)
    assert found["weights50_excess_nats"].value != 0


def two(model):
    return lambda: pruned.two_of_four(model)


def weight_inner(kind):
    return 12 if kind in ("Llama", "Mixtral") else 32


def test_two_of_four_keep_the_larger_ones():
    model = model_of("Llama")
    name, weight = next(iter(matrices(model).items()))
    fours = weight.detach().abs().reshape(-1, 4)
    kept = fours.sort(dim=1).values[:, 2:].sum()
    with changed(model, two(model)):
        assert float(weight.detach().abs().sum()) == pytest.approx(float(kept), rel=1e-6), name


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_a_group_is_rounded_to_its_nearest_levels(bits):
    """No weight is further away than half a step; a step is the range over the levels."""
    rows = torch.randn(5, 150, generator=torch.Generator().manual_seed(2))
    found = quantised.rounded(rows, bits)
    for first in (0, 64, 128):
        group, near = rows[:, first : first + 64], found[:, first : first + 64]
        ends = group.amax(1).clamp_min(0) - group.amin(1).clamp_max(0)
        step = ends / (2**bits - 1)
        # Ends may be off by half a step more, since 0 has to be a level; scales are fp16.
        assert ((group - near).abs() <= step[:, None] * 1.02).all()
        # Rounding errors are even up to half a step: a quarter of it on average.
        assert ((group - near).abs() / step[:, None]).mean() == pytest.approx(0.25, abs=0.06)
        assert all(len(row.unique()) <= 2**bits for row in near)
    assert torch.equal(quantised.rounded(torch.zeros(2, 8), bits), torch.zeros(2, 8))


def test_bytes_of_a_matrix_counted_by_hand():
    """3 rows of 100 weights: two groups a row, of three bytes each, and 4 bits a weight."""
    assert quantised.stored_bytes(torch.zeros(3, 100), 4) == 150 + 3 * 2 * 3
    assert quantised.stored_bytes(torch.zeros(3, 10), 3) == 12 + 3 * 3


def test_fewer_bits_and_weights_cost_more():
    model = model_of("GPT2")
    with torch.no_grad():
        for weight in matrices(model).values():
            weight.mul_(20)
    found = quantised.quantised(subject(model))
    moved = [abs(found[f"{form}_excess_nats"].value) for form in ("fp16", "int8", "int4")]
    assert moved[0] < moved[1] < moved[2]
    inside, outside = count(model)
    assert found["fp32_bytes"].value == 4 * (inside + outside)
    order = [found[f"{form}_bytes"].value for form in ("fp32", "fp16", "int8", "int4", "int3")]
    assert order == sorted(order, reverse=True)
