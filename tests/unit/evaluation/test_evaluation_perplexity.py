"""Held-out loss: each token once, one division at the end, whatever the batch or the stride."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.evaluation.perplexity import HeldOut, held_out, token_losses, windows
from scalelab.models import LanguageModel, build
from scalelab.plan.families import Shape


def model_of(vocab: int, context: int = 16, zero: bool = False) -> LanguageModel:
    """A tiny untrained model, or one with every weight zero."""
    model = build(Shape("gpt2", 1, 8, 2, context, vocab), seed=1)
    if zero:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    return model


def stream(length: int, vocab: int) -> np.ndarray:
    """Random ids, the separator (id 0) among them."""
    return np.random.default_rng(length).integers(vocab, size=length).astype(np.uint16)


@given(st.integers(1, 300), st.integers(1, 64), st.data())
@settings(max_examples=300, deadline=None)
def test_windows_score_every_token_once_with_what_stands_before_it(
    length: int, context: int, data: st.DataObject
) -> None:
    """Cases T13 (short texts, ragged ends) and T25 (texts longer than the window)."""
    stride = data.draw(st.integers(1, context))
    scored: list[int] = []
    for start, end, first in windows(length, context, stride):
        assert 0 <= start <= first < end <= length
        assert end - start <= context
        assert end - start == min(context, length), "every window is as long as it can be"
        scored += range(first, end)
    assert scored == [*range(length)]


@pytest.mark.parametrize("stride", [1, 7, 8, 16])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 100])
def test_losses_equal_those_of_one_token_at_a_time(stride: int, length: int) -> None:
    """Cases T13 and T25."""
    model, tokens = model_of(31), stream(length, 31)
    found = token_losses(model, tokens, separator=0, context=16, stride=stride)
    padded = [0, *tokens.tolist()]
    expected = []
    for start, end, first in windows(length, 16, stride):
        for position in range(first, end):
            inputs = torch.tensor([padded[start : position + 1]])
            with torch.no_grad():
                hidden = model.hidden(inputs)[0, -1]  # type: ignore[operator]
                logits = model.tokens.weight @ hidden  # type: ignore[operator, union-attr]
            expected.append(-logits.log_softmax(0)[padded[position + 1]].item())
    assert found.dtype == np.float64
    assert found == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 16, 48, 10_000])
@pytest.mark.parametrize("stride", [3, 16])
def test_the_batch_changes_nothing(batch_tokens: int, stride: int) -> None:
    model, tokens = model_of(31), stream(500, 31)
    one = token_losses(model, tokens, 0, 16, stride, batch_tokens=16)
    other = token_losses(model, tokens, 0, 16, stride, batch_tokens=batch_tokens)
    assert other == pytest.approx(one, abs=1e-6)


def test_evaluating_twice_gives_the_same_numbers() -> None:
    model, tokens = model_of(31), stream(300, 31)
    model.train()
    first = token_losses(model, tokens, 0, 16, 8)
    assert np.array_equal(first, token_losses(model, tokens, 0, 16, 8))
    assert not model.training


@pytest.mark.parametrize("stride", [1, 4, 8, 16])
@pytest.mark.parametrize("batch_tokens", [16, 8192])
@pytest.mark.parametrize(("vocab", "nats"), [(50257, 10.824905), (50304, 10.825840)])
def test_zero_weights_score_the_logarithm_of_the_vocabulary(
    stride: int, batch_tokens: int, vocab: int, nats: float
) -> None:
    """Case T24, with the vocabulary of GPT-2 as it is and padded."""
    model = model_of(vocab, zero=True)
    losses = token_losses(model, stream(120, vocab), 0, 16, stride, batch_tokens)
    score = held_out(losses, np.zeros(120), text_bytes=400)
    assert score.tokens == 120, "the first token counts as well"
    assert score.loss_nats == pytest.approx(nats, abs=2e-6)
    assert score.perplexity == pytest.approx(vocab, rel=1e-5)


@pytest.mark.parametrize("context", [4, 16, 40])
def test_a_uniform_model_of_bytes_needs_eight_bits_a_byte(context: int) -> None:
    text = "naïve Σ, 漢字\n" * 8
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    model = model_of(256, context=context, zero=True)
    losses = token_losses(model, data, 0, context, max(1, context // 2))
    score = held_out(losses, np.zeros(len(data)), text_bytes=len(data))
    assert score.bits_per_byte == pytest.approx(8, abs=1e-5)
    assert round(score.bits_per_byte, 3) == 8.000
    bits_per_character = score.loss_nats * len(data) / len(text) / math.log(2)
    assert bits_per_character / score.bits_per_byte == pytest.approx(1.5), "12 letters, 18 bytes"


def test_nats_are_summed_before_they_are_divided() -> None:
    # Two documents: 2 nats in one token, 90 nats in nine.
    losses = np.array([2.0, *[10.0] * 9])
    score = held_out(losses, np.array([0] + [1] * 9), text_bytes=20)
    assert score.nats == 92
    assert score.loss_nats == pytest.approx(9.2)
    assert score.perplexity == pytest.approx(9897.13, abs=0.01)
    assert score.bits_per_byte == pytest.approx(92 / math.log(2) / 20)
    ragged = held_out(np.array([0.1, 0.2, 0.1, 0.3, 0.5, 0.1, 0.4, 0.2]), np.arange(8), 8)
    assert ragged.perplexity == pytest.approx(1.268075, abs=1e-6)


def test_an_empty_stream_adds_nothing() -> None:
    """Case T26: no token is no loss, and no mean of nothing."""
    model, tokens = model_of(31), stream(40, 31)
    whole = token_losses(model, tokens, 0, 16, 8)
    empty = token_losses(model, tokens[:0], 0, 16, 8)
    assert empty.shape == (0,)
    both = held_out(np.concatenate([empty, whole]), np.zeros(40), 40)
    assert both == held_out(whole, np.zeros(40), 40)
    assert math.isfinite(both.nats)


def test_the_order_of_documents_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    losses, clusters = rng.exponential(size=200), rng.integers(9, size=200)
    order = rng.permutation(200)
    one, other = held_out(losses, clusters, 300), held_out(losses[order], clusters[order], 300)
    assert other.loss_nats == pytest.approx(one.loss_nats, rel=1e-12)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-9)


def test_a_loss_too_large_for_a_perplexity_keeps_its_nats() -> None:
    score = held_out(np.full(5, 710.0), np.arange(5), 5)
    assert score.loss_nats == 710
    assert score.perplexity is None
    assert held_out(np.full(5, 699.0), np.arange(5), 5).perplexity == pytest.approx(
        math.exp(699), rel=1e-6
    )
    json.dumps([score.loss_nats, score.perplexity, score.bits_per_byte], allow_nan=False)


def test_the_standard_error_of_single_tokens_is_that_of_a_mean() -> None:
    losses = np.random.default_rng(2).exponential(size=400)
    score = held_out(losses, np.arange(400), 400)
    assert score.standard_error == pytest.approx(losses.std(ddof=1) / math.sqrt(400), rel=1e-9)


def test_the_standard_error_covers_the_spread_of_repeated_draws() -> None:
    """Documents of uneven length with a difficulty of their own; tokens in them are not alone."""
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(400):
        lengths = rng.integers(1, 40, size=60)
        clusters = np.repeat(np.arange(60), lengths)
        losses = rng.normal(3, 0.5, size=60)[clusters] + rng.normal(0, 0.2, size=len(clusters))
        score = held_out(losses, clusters, 1)
        means.append(score.loss_nats)
        errors.append(score.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)
    naive = 0.54 / math.sqrt(60 * 20)
    assert np.mean(errors) > 3 * naive, "tokens of one document are not independent"


def test_one_document_has_no_spread_to_measure() -> None:
    score = held_out(np.array([1.0, 2.0, 3.0]), np.zeros(3), 3)
    assert score.standard_error is None
    assert isinstance(score, HeldOut)
