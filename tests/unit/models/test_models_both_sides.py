"""Families that read both sides of what they predict: BERT (masked tokens) and T5 (spans)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from model_examples import rough
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalelab.files import write_json
from scalelab.models import LanguageModel, build, export, load_weights, registry
from scalelab.models.corruption import IGNORED, corrupted, cut, masked
from scalelab.plan.families import Shape, count, objective
from scalelab.plan.objectives import (
    decoded_tokens,
    encoded_tokens,
    hidden_tokens,
    predicted_tokens,
    spans,
)

transformers = pytest.importorskip("transformers")
BOTH = ("bert", "t5")


def shape_of(family: str, context: int = 20, vocab: int = 61) -> Shape:
    return Shape(family, depth=2, width=16, heads=4, context=context, vocab=vocab)


def batch(shape: Shape, sequences: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, shape.vocab, (sequences, shape.context), generator=torch.manual_seed(0))
    return corrupted(objective(shape.family).name, ids, shape.vocab, 7, "test")


def opened(model: LanguageModel, shape: Shape, folder: Path, kind: str) -> Any:
    config, weights = export(model, shape)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    return getattr(transformers, kind).from_pretrained(folder).eval()


# --- Corruption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [8, 20, 128])
def test_fifteen_percent_are_masked_and_what_they_were_is_the_target(time: int) -> None:
    blocks = np.random.default_rng(0).integers(0, 50, (400, time))
    inputs, targets = masked(blocks, 50, np.random.default_rng(1))
    hidden = targets != IGNORED
    assert (hidden.sum(axis=1) == max(1, round(0.15 * time))).all()
    assert hidden_tokens(time) == predicted_tokens("masked", time) == hidden[0].sum()
    assert (inputs[~hidden] == blocks[~hidden]).all()
    assert (targets[hidden] == blocks[hidden]).all()
    # 80% are the mask; of the others half are as they were, or are so by chance.
    assert (inputs[hidden] == 50).mean() == pytest.approx(0.8, abs=0.05)
    assert (inputs[hidden] == blocks[hidden]).mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.04)
    assert hidden.mean(axis=0).std() < 0.05, "no place is preferred"


@pytest.mark.parametrize("time", [8, 20, 128])
def test_spans_are_cut_out_and_can_be_put_back(time: int) -> None:
    blocks = np.random.default_rng(0).integers(0, 50, (200, time))
    inputs, targets = cut(blocks, 50, np.random.default_rng(1))
    assert inputs.shape == (200, encoded_tokens(time))
    assert targets.shape == (200, decoded_tokens(time))
    number = spans(time)
    for read, told, block in zip(inputs, targets, blocks, strict=True):
        assert told[0] == 50
        assert told[-1] == 50 + number
        at = np.flatnonzero(told >= 50)
        assert (told[at] == 50 + np.arange(number + 1)).all()
        pieces = {50 + k: told[at[k] + 1 : at[k + 1]] for k in range(number)}
        assert all(len(piece) > 0 for piece in pieces.values())
        again = [pieces[token] if token >= 50 else [token] for token in read.tolist()]
        assert (np.concatenate(again) == block).all()
    lengths = [np.diff(np.flatnonzero(told >= 50)) - 1 for told in targets]
    assert np.mean(lengths) == pytest.approx(hidden_tokens(time) / number)
    assert number == 1 or len({tuple(one) for one in lengths}) > number, "lengths differ"


def test_what_is_hidden_depends_on_seed_and_step_alone() -> None:
    ids = torch.arange(60).view(3, 20)
    one, same, other = (corrupted("masked", ids, 60, 1, f"step {step}") for step in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[1], other[1])
    assert not torch.equal(one[1], corrupted("masked", ids, 60, 2, "step 4")[1])


# --- Counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize(("context", "vocab"), [(16, 257), (40, 300)])
def test_counts_are_those_of_the_built_module(family: str, context: int, vocab: int) -> None:
    shape = shape_of(family, context, vocab)
    counts, model = count(shape), build(shape, seed=0)
    named = dict(model.named_parameters())
    tokens = [
        p for name, p in named.items() if name.endswith(("word_embeddings.weight", "shared.weight"))
    ]
    places = [p for name, p in named.items() if "position_emb" in name or "token_type" in name]
    head = [p for name, p in named.items() if name.endswith("predictions.bias")]
    assert len(tokens) == 1
    assert counts.token_embedding == tokens[0].numel()
    assert counts.position_embedding == sum(p.numel() for p in places)
    assert counts.head == sum(p.numel() for p in head)
    total = sum(p.numel() for p in model.parameters())
    assert (counts.n_total, counts.n) == (total, total - counts.n_embedding - counts.head)


@pytest.mark.parametrize(
    ("kind", "config", "shape"),
    [
        # The published vocabularies, less the tokens that a family has of its own.
        ("BertForMaskedLM", "BertConfig", Shape("bert", 12, 768, 12, 512, 30522 - 1)),
        ("T5ForConditionalGeneration", "T5Config", Shape("t5", 6, 512, 8, 512, 32128 - 27)),
    ],
)
def test_published_models_have_the_parameters_that_transformers_counts(
    kind: str, config: str, shape: Shape
) -> None:
    with torch.device("meta"):
        model = getattr(transformers, kind)(getattr(transformers, config)())
    assert count(shape).n_total == model.num_parameters()


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("context", [16, 40])
def test_flops_are_those_that_torch_counts(family: str, context: int) -> None:
    shape = shape_of(family, context)
    counts, model = count(shape), build(shape, seed=0)
    inputs, targets = batch(shape, sequences=4)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward, torch.no_grad():
        model(inputs, targets)
    tokens = 4 * context
    # A block's FLOPs are told by token and rounded: half of one for each of two groups.
    told = (counts.matmul_flops + counts.attention_flops) * tokens
    assert abs(forward.get_total_flops() - told) <= tokens
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as both:
        model(inputs, targets).backward()
    assert abs(both.get_total_flops() - counts.training_flops * tokens) <= 3 * tokens


# --- Losses and export ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", "AutoModelForMaskedLM"), ("t5", "AutoModelForSeq2SeqLM")]
)
def test_transformers_gives_the_same_loss(family: str, kind: str, tmp_path: Path) -> None:
    shape = shape_of(family)
    ours = rough(shape)
    theirs = opened(ours, shape, tmp_path, kind)
    inputs, targets = batch(shape)
    with torch.no_grad():
        expected = theirs(input_ids=inputs, labels=targets).loss.item()
        found = ours(inputs, targets).item() / (targets != IGNORED).sum().item()
    assert found == pytest.approx(expected, abs=1e-5)
    assert theirs.num_parameters() == count(shape).n_total


@pytest.mark.parametrize("family", BOTH)
def test_the_sum_is_the_sum_of_the_losses_by_token(family: str) -> None:
    shape = shape_of(family)
    model, (inputs, targets) = build(shape, seed=0), batch(shape)
    losses = model.losses(inputs, targets)
    assert losses.shape == targets.shape
    assert (losses[targets == IGNORED] == 0).all()
    assert (losses[targets != IGNORED] > 0).all()
    assert model(inputs, targets).item() == pytest.approx(losses.sum().item(), rel=1e-5)


@pytest.mark.parametrize("family", BOTH)
def test_what_comes_after_a_hidden_token_counts(family: str) -> None:
    shape = shape_of(family)
    model, (inputs, targets) = rough(shape), batch(shape)
    before = model.losses(inputs, targets)
    changed = inputs.clone()
    changed[:, -1] = (changed[:, -1] + 1) % shape.vocab
    after = model.losses(changed, targets)
    first = (targets != IGNORED).int().argmax(dim=1)
    rows = torch.arange(len(targets))
    assert (before[rows, first] != after[rows, first]).all()


@pytest.mark.parametrize("family", BOTH)
def test_equal_seeds_give_equal_weights_and_leave_the_generator_of_torch_alone(family: str) -> None:
    shape = shape_of(family)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, same, other = (build(shape, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("family", "apart"), [("bert", 0.5), ("t5", 1.5)])
def test_an_untrained_model_is_near_the_uniform_loss(family: str, apart: float) -> None:
    """T5 starts from embeddings of variance 1, so its first guess is the token before."""
    shape = shape_of(family)
    inputs, targets = batch(shape, sequences=60)
    loss = build(shape, seed=0)(inputs, targets).item() / (targets != IGNORED).sum().item()
    assert loss == pytest.approx(math.log(shape.vocab), abs=apart)


@pytest.mark.parametrize("family", BOTH)
def test_weights_come_back_from_an_export(family: str) -> None:
    shape = shape_of(family)
    model, other = rough(shape), build(shape, seed=2)
    _, weights = export(model, shape)
    load_weights(other, shape, weights)
    for mine, found in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, found)
    assert sum(tensor.numel() for tensor in weights.values()) == count(shape).n_total


@pytest.mark.parametrize("family", BOTH)
def test_a_family_names_as_many_tokens_as_it_has_beside_the_vocabulary(family: str) -> None:
    shape = shape_of(family)
    special = registry.get(family).special(shape)
    assert len({*special}) == len(special)
    assert count(shape).token_embedding == (shape.vocab + len(special)) * shape.width


def test_losses_of_a_mask_are_those_of_cross_entropy() -> None:
    """One hidden token: -ln p of it among all tokens and the mask."""
    shape = shape_of("bert")
    model = rough(shape)
    ids = torch.randint(0, shape.vocab, (1, shape.context), generator=torch.manual_seed(4))
    targets = torch.full_like(ids, IGNORED)
    targets[0, 6], ids[0, 6] = ids[0, 6].clone(), shape.vocab
    logits = model.inner(input_ids=ids).logits[0, 6]  # type: ignore[union-attr,operator]
    expected = -F.log_softmax(logits, -1)[targets[0, 6]]
    assert model.losses(ids, targets)[0, 6].item() == pytest.approx(expected.item(), abs=1e-5)
