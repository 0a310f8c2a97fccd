"""The causal families with their options, against transformers, and each of their own layers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from model_examples import rough
from safetensors.torch import save_file

from scalelab import provenance
from scalelab.evaluation.samples import next_logits
from scalelab.files import write_json
from scalelab.models import LanguageModel, attend_to, build, export, load_weights, registry
from scalelab.models.layers.grouped import attention, banded_attention
from scalelab.models.layers.rotary import angles, turn_halves, turn_pairs
from scalelab.plan.families import Shape, count

transformers = pytest.importorskip("transformers")
CAUSAL = ("gpt2", "gpt3", "gptj", "llama", "moe")
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("gpt3", {"depth": 3}),
    ("gpt3", {"band": 3, "context": 24}),
    ("gpt3", {"band": 16}),
    ("gptj", {"width": 96}),
    ("llama", {"kv_heads": 2, "inner": 40}),
    ("llama", {"kv_heads": 1, "tied": True}),
    ("moe", {"experts": 4, "active_experts": 1, "kv_heads": 2}),
    ("moe", {"experts": 3, "active_experts": 3, "tied": True, "inner": 24}),
]
"""Family and what differs from `shape_of`."""


def shape_of(family: str, **options: Any) -> Shape:
    """A tiny shape of four heads."""
    plain = Shape(family, depth=2, width=16, heads=4, context=16, vocab=61)
    return replace(plain, **options)


def theirs(model: LanguageModel, shape: Shape, folder: Path) -> Any:
    """The model that `AutoModelForCausalLM` makes of an export."""
    config, weights = export(model, shape)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize(("family", "options"), [*((name, {}) for name in CAUSAL), *OPTIONS])
def test_transformers_gives_the_same_logits_and_counts_the_same_parameters(
    family: str, options: dict[str, Any], tmp_path: Path
) -> None:
    shape = shape_of(family, **options)
    ours = rough(shape)
    other = theirs(ours, shape, tmp_path)
    ids = torch.randint(shape.vocab, (3, shape.context), generator=torch.manual_seed(2))
    counts = count(shape)
    with torch.no_grad():
        logits = other(ids).logits
        assert logits.abs().max() > 1, "not a model of zeros"
        assert torch.allclose(next_logits(ours, ids), logits[:, -1], atol=1e-5, rtol=1e-5)
        expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        found = ours.losses(ids[:, :-1], ids[:, 1:]).mean()
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    assert other.num_parameters() == counts.n_total
    assert other.num_parameters(exclude_embeddings=True) == counts.n + counts.head
    again = build(shape, seed=4)
    load_weights(again, shape, export(ours, shape)[1])
    for one, same in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one, same, rtol=1e-6)


PUBLISHED = [
    ("GPT2Config", Shape("gpt2", 12, 768, 12, 1024, 50257)),
    # GPT-Neo 1.3B, whose layers are those of GPT-3 XL.
    ("GPTNeoConfig", Shape("gpt3", 24, 2048, 16, 2048, 50257, band=256)),
    ("GPTJConfig", Shape("gptj", 28, 4096, 16, 2048, 50400)),
    ("LlamaConfig", Shape("llama", 32, 4096, 32, 2048, 32000, inner=11008)),
    ("MixtralConfig", Shape("moe", 32, 4096, 32, 4096, 32000, kv_heads=8, inner=14336)),
]
"""Configurations whose defaults are published models."""


@pytest.mark.parametrize(("name", "shape"), PUBLISHED)
def test_published_models_have_the_parameters_that_transformers_counts(
    name: str, shape: Shape
) -> None:
    config = getattr(transformers, name)()
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert count(shape).n_total == model.num_parameters()


@pytest.mark.parametrize("family", CAUSAL)
def test_a_document_does_not_depend_on_what_is_packed_before_it(family: str) -> None:
    shape = shape_of(family, context=32)
    model = rough(shape)
    attend_to(model, family, "documents", separator=0)
    document, before = (
        torch.randint(1, shape.vocab, (size,), generator=torch.manual_seed(size))
        for size in (13, 9)
    )
    document[0] = before[4] = 0
    packed = torch.cat([before, document])
    alone, inside = (
        model.losses(ids[None, :-1], ids[None, 1:])[0, -12:] for ids in (document, packed)
    )
    assert torch.allclose(alone, inside, atol=2e-5)
    model.separator = None
    stream = model.losses(packed[None, :-1], packed[None, 1:])[0, -12:]
    assert not torch.allclose(alone, stream, atol=1e-2), "in a stream it does"


@pytest.mark.parametrize("family", sorted(set(CAUSAL) - {"gpt2"}))
def test_a_family_without_gradients_by_hand_says_so(family: str) -> None:
    assert not registry.get(family).by_hand
    assert registry.get("gpt2").by_hand


# --- Layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [turn_halves, turn_pairs])
def test_products_of_turned_heads_depend_on_their_distance_alone(turn: Any) -> None:
    q, k = torch.randn(2, 1, 1, 1, 12, generator=torch.manual_seed(0))
    if turn is turn_pairs:
        turning = 8
        assert torch.equal(turn(q, *angles(torch.tensor([5]), 8))[..., 8:], q[..., 8:])
    else:
        turning = 12

    def product(at: int, other: int) -> float:
        turned = [turn(x, *angles(torch.tensor([p]), turning)) for x, p in ((q, at), (k, other))]
        return float((turned[0] * turned[1]).sum())

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-3)
    assert product(0, 0) == pytest.approx(float((q * k).sum()), abs=1e-6)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(
    ("time", "band", "chunk"), [(24, 3, 3), (24, 5, 6), (23, 4, 4), (16, 8, 8), (7, 2, 3)]
)
def test_attention_in_chunks_is_attention_under_the_mask_of_the_band(
    time: int, band: int, chunk: int, documents: bool
) -> None:
    place = torch.arange(time)
    distance = place[:, None] - place
    mask = ((distance >= 0) & (distance < band))[None]
    seen = None
    if documents:
        of = torch.stack([place // 5, place // 9])
        seen = (of[:, :, None] == of[:, None, :]) & (distance >= 0)
        mask = mask & seen
    found = []
    for chunked in (True, False):
        q, k, v = torch.randn(3, 2, 2, time, 4, generator=torch.manual_seed(0)).requires_grad_()
        leaves = [part.detach().requires_grad_() for part in (q, k, v)]
        if chunked:
            out = banded_attention(*leaves, band, chunk, seen)
        else:
            out = attention(*leaves, mask.expand(2, -1, -1))
        (out * torch.randn(out.shape, generator=torch.manual_seed(1))).sum().backward()
        found.append([out, *(leaf.grad for leaf in leaves)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_every_second_layer_of_gpt3_sees_its_band_alone() -> None:
    model = rough(shape_of("gpt3", band=4))
    dense, banded = model.blocks
    x = torch.randn(1, 16, 16, generator=torch.manual_seed(0))
    changed = x.clone()
    changed[:, 2] *= torch.arange(16) - 5  # a shift alone would be lost in the norm
    with torch.no_grad():
        for block, reach in ((dense, 16), (banded, 2 + 4)):
            moved = (block(x) - block(changed)).abs().amax((0, 2)) > 1e-6
            assert moved.tolist() == [2 <= place < reach for place in range(16)]


def test_with_a_band_over_the_context_gpt3_is_gpt2_without_biases_of_attention() -> None:
    shape = shape_of("gpt3", band=16)
    model = rough(shape)
    weights = dict(model.named_parameters())
    plain = build(replace(shape, family="gpt2", band=None), seed=1)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(weights[name] if name in weights else torch.zeros_like(parameter))
    assert {name for name, _ in plain.named_parameters()} - set(weights) == {
        f"blocks.{place}.qkv.bias" for place in range(2)
    }
    ids = torch.randint(61, (2, 3, 16), generator=torch.manual_seed(2))
    assert torch.allclose(model.losses(*ids), plain.losses(*ids), atol=1e-5)


def test_what_one_family_is_made_of_makes_no_run_of_another_anew() -> None:
    def files(family: str) -> set[str]:
        entries = (entry.format(family=family) for entry in provenance.CODE["train"])
        return {
            path.relative_to(provenance.PACKAGE).as_posix()
            for path in provenance.code_files(*entries)
        }

    new = {"models/decoder.py", "models/layers/grouped.py", "models/layers/initial.py"}
    assert not files("gpt2") & {*new, "models/layers/rotary.py", "models/layers/experts.py"}
    assert files("llama") >= {*new, "models/layers/rotary.py", "plan/families/llama.py"}
    assert "models/layers/experts.py" in files("moe") - files("llama")
