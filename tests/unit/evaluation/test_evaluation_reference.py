"""Held-out loss against other programs: transformers token by token, lm-evaluation-harness."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.corpus.shards import Corpus, load
from scalelab.evaluation.perplexity import held_out, token_losses
from scalelab.evaluation.run import evaluate, load_model
from scalelab.files import read_json
from scalelab.models import LanguageModel

CONTEXT = 16


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    """The tiny corpus of raw bytes."""
    return load(corpus_folder)


@pytest.fixture(scope="module")
def ours(trained: Path) -> LanguageModel:
    """The trained model as scalelab evaluates it."""
    return load_model(trained, read_json(trained / "run.json"), 0)[0]


def reference(checkpoint: Path, tokens: np.ndarray, stride: int) -> np.ndarray:
    """Loss of each token by GPT2LMHeadModel, one window, one forward pass and one logit a token.

    The token at place i sees what is in the window that scores it: from the window's start to i.
    """
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    padded = [0, *tokens.tolist()]
    found = np.empty(len(tokens))
    with torch.inference_mode():
        for place in range(len(tokens)):
            # Blocks of `stride` after the first window; each window ends with its block.
            block = max(0, place - CONTEXT) // stride + 1 if place >= CONTEXT else 0
            end = min(len(tokens), CONTEXT + block * stride)
            start = max(0, end - CONTEXT)
            logits = model(torch.tensor([padded[start : place + 1]])).logits[0, -1].double()
            found[place] = -logits.log_softmax(-1)[padded[place + 1]].item()
    return found


@pytest.mark.parametrize("stride", [1, 5, CONTEXT])
def test_perplexity_is_that_of_transformers_one_token_at_a_time(
    ours: LanguageModel, trained: Path, corpus: Corpus, stride: int
) -> None:
    """Cases E01, E03: to 1e-5, whatever the batch."""
    tokens = corpus.tokens["test"][1:400]
    expected = reference(trained / "checkpoint", tokens, stride)
    assert expected.std() > 0.3, "tokens differ, so a shift by one would show"
    for batch_tokens in (1, 48, 8192):
        losses = token_losses(ours, tokens, corpus.separator, CONTEXT, stride, batch_tokens)
        assert losses == pytest.approx(expected, abs=1e-5)
        score = held_out(losses, np.zeros(len(tokens)), text_bytes=len(tokens))
        assert score.perplexity == pytest.approx(math.exp(expected.mean()), rel=1e-5)


def test_the_harness_gives_the_same_sums(
    lm_eval: Any, ours: LanguageModel, trained: Path, corpus: Corpus
) -> None:
    """Log-likelihoods of lm-evaluation-harness on the exported checkpoint, document by document.

    The harness scores a text in blocks of the context, the first token given the end-of-text
    token, and each later block given the last token before it: a stride of the whole context.
    """
    harness = harness_of(trained / "checkpoint")
    pieces = [piece for piece in corpus.pieces["test"][:8].tolist()]
    rows = [corpus.tokens["test"][start:end] for start, end, *_ in pieces]
    texts = [bytes((row - 1).astype(np.uint8)).decode("utf-8") for row in rows]
    assert len(rows) >= 5 and min(len(row) for row in rows) > 3 * CONTEXT
    theirs = rolling(harness, texts)
    for row, log_likelihood in zip(rows, theirs, strict=True):
        mine = token_losses(ours, row, corpus.separator, CONTEXT, CONTEXT)
        assert mine.sum() == pytest.approx(-log_likelihood, rel=1e-6)
        assert mine.mean() == pytest.approx(-log_likelihood / len(row), abs=1e-4)


def harness_of(checkpoint: Path) -> Any:
    """The harness's model of a checkpoint, on the processor in fp32."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=str(checkpoint),
        device="cpu",
        dtype="float32",
        batch_size=4,
        max_length=CONTEXT,
        add_bos_token=False,
    )


def rolling(harness: Any, texts: list[str]) -> list[float]:
    """Sums of log-likelihoods of whole texts: its `loglikelihood_rolling`, without any task."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance(
            request_type="loglikelihood_rolling",
            doc={},
            arguments=(text,),
            idx=place,
            metadata=("texts", place, 1),
        )
        for place, text in enumerate(texts)
    ]
    return [float(value) for value in harness.loglikelihood_rolling(requests, disable_tqdm=True)]


def test_batches_of_any_size_give_one_score(
    trained: Path, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case E01: the whole of `evaluate`, with batches of one window and of all of them."""
    from scalelab.evaluation import perplexity

    settings = {"format": 1, "split": "test", "context": CONTEXT, "stride": 8}
    found = []
    for tokens in (16, 200, 100_000):
        monkeypatch.setattr(perplexity.token_losses, "__defaults__", (tokens,))
        result = evaluate(trained, corpus_folder, settings, tmp_path / "e.json", 1, lambda _: None)
        found.append((result["loss_nats"], result["perplexity"], result["bits_per_byte"]))
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-7)
