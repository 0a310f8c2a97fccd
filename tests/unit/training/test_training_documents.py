"""Training and scoring within documents; nothing but text enters the loss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalelab import config
from scalelab.corpus.shards import load
from scalelab.evaluation.perplexity import token_losses
from scalelab.evaluation.run import evaluate, load_model
from scalelab.files import digest, read_json
from scalelab.plan.runs import build
from scalelab.training.batches import Batches
from scalelab.training.run import train

STUDY = {"study": "s", "training": {"tokens": "1M"}, "ladder": {"widths": [32]}}


@pytest.fixture(scope="module")
def within(
    corpus_folder: Path,
    spec: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run that was trained within documents."""
    made = spec(steps=20)
    made["training"]["attention"] = "documents"
    folder = tmp_path_factory.mktemp("within") / digest(made)
    assert train(made, corpus_folder, folder, 1, lambda _: None)["status"] == "ok"
    return folder


def test_a_run_is_scored_as_it_was_trained(
    within: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    corpus = load(corpus_folder)
    model, _ = load_model(within, read_json(within / "run.json"), corpus.separator)
    assert model.separator == corpus.separator == 0
    settings = {"format": 1, "split": "test", "context": 16, "stride": 4}
    found = evaluate(within, corpus_folder, settings, tmp_path / "e.json", 1, lambda _: None)
    tokens = corpus.tokens["test"][1:]
    mine = token_losses(model, tokens, 0, 16, 4).mean()
    assert found["loss_nats"] == pytest.approx(mine, rel=1e-9)
    model.separator = None
    assert token_losses(model, tokens, 0, 16, 4).mean() != pytest.approx(mine, rel=1e-9)


def test_it_is_another_run_and_the_default_is_the_one_it_was() -> None:
    def run(**keys: Any) -> Any:
        (found,) = build(
            config.parse({**STUDY, "training": {**STUDY["training"], **keys}})  # type: ignore
        ).runs
        return found

    usual = run()
    assert "attention" not in usual.spec["training"]
    assert run(attention="stream").id == usual.id
    other = run(attention="documents")
    assert other.id != usual.id
    assert other.spec["training"] == {**usual.spec["training"], "attention": "documents"}


def test_no_padding_enters_the_loss(corpus_folder: Path) -> None:
    """Each target is the token after its input in the text, and each is counted: none is filler."""
    tokens = load(corpus_folder).tokens["train"]
    batches = Batches(tokens, 16, 64, seed=1)
    steps = len(batches.order) // batches.sequences
    seen = np.zeros(len(tokens), dtype=int)
    whole = torch.from_numpy(tokens.astype(np.int64))
    for step in range(steps):
        inputs, targets = batches.step(step)
        assert inputs.shape == targets.shape == (4, 16), "every place of a batch is text"
        for row, block in enumerate(batches.order[step * 4 : step * 4 + 4]):
            assert torch.equal(inputs[row], whole[block * 16 : block * 16 + 16])
            assert torch.equal(targets[row], whole[block * 16 + 1 : block * 16 + 17])
            seen[block * 16 + 1 : block * 16 + 17] += 1
    assert seen.max() == 1 and seen.sum() == steps * 64
