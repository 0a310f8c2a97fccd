"""Field cases of evaluation, and where each one that is not here is tested.

- E01 a mean of means: test_nats_are_summed_before_they_are_divided; any batch:
  test_evaluation_reference.py
- E02 its numbers: test_nats_are_summed_before_they_are_divided (perplexity)
- E04 a model of bytes: test_a_uniform_model_of_bytes_needs_eight_bits_a_byte (perplexity); laws
  across tokenizers: test_laws_bad_input.py
- E05 rows of two evaluation contexts: test_laws_bad_input.py
- E07 a perplexity that overflows: test_a_loss_too_large_for_a_perplexity_keeps_its_nats
- E11 perplexity is exp(loss) in each row: test_the_table_has_a_row_a_run_with_every_digit (run)
- E12 the label of an imported score: test_library_import.py (`--dataset`)
- T13 short texts: test_windows_score_every_token_once_with_what_stands_before_it (perplexity)
- T14 a limit in tokens: test_corpus_prepare.py
"""

import json
import math
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scalelab.evaluation import collect
from scalelab.evaluation.columns import SETTING
from scalelab.evaluation.measure import take
from scalelab.evaluation.measures import _scores
from scalelab.evaluation.perplexity import held_out, token_losses
from scalelab.evaluation.run import evaluate
from scalelab.files import read_json
from scalelab.models import LanguageModel, build
from scalelab.plan.families import Shape

SETTINGS = {"format": 1, "split": "test", "context": 16, "stride": 16}


class Telling(LanguageModel):
    """A model whose loss of a token is the token itself: what is scored can be read off."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shapes: list[tuple[int, ...]] = []

    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """The targets; the inputs must be the tokens before them."""
        self.shapes.append(tuple(inputs_BT.shape))
        assert torch.equal(inputs_BT[:, 1:], targets_BT[:, :-1])
        return targets_BT.double()


def refuse(*_: object) -> None:
    """Stands for a call that needs a network."""
    raise AssertionError("evaluation opens a connection")


@pytest.mark.parametrize("stride", [1, 64, 128, 256])
def test_a_thousand_tokens_are_scored_once_at_any_stride(stride: int) -> None:
    """Case E03: each token by itself, the first of each window too; no token twice."""
    tokens = np.random.default_rng(1).permutation(1000)
    found = token_losses(Telling(), tokens, separator=0, context=256, stride=stride)
    assert np.array_equal(found, tokens)


@pytest.mark.parametrize("stride", [64, 128, 256])
def test_a_uniform_model_scores_the_logarithm_of_the_vocabulary_at_any_stride(stride: int) -> None:
    """Case E03 with the vocabulary of GPT-2: 10.824905 nats each."""
    model = build(Shape("gpt2", 1, 8, 2, 256, 50257), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    tokens = np.random.default_rng(2).integers(50257, size=1000)
    losses = token_losses(model, tokens, 0, 256, stride)
    assert len(losses) == 1000
    assert held_out(losses, np.zeros(1000), 4000).loss_nats == pytest.approx(10.824905, abs=2e-6)


@pytest.mark.parametrize("batch_tokens", [16, 32, 64, 8192])
def test_no_window_is_padded_and_token_id_0_is_scored(batch_tokens: int) -> None:
    """Case E02: windows of one batch have one length, all of it text, a separator included."""
    model, tokens = Telling(), np.array([5, 0, 0, 7, *range(100, 137)])
    found = token_losses(model, tokens, 0, 16, 8, batch_tokens)
    assert np.array_equal(found, tokens)
    assert {length for _, length in model.shapes} == {16}
    assert max(count for count, _ in model.shapes) <= max(1, batch_tokens // 16)


def test_documents_of_no_one_and_two_tokens_are_scored_whole() -> None:
    """Case E06: 0 + 1 + 2 tokens, the first of each given the separator; no size is special."""
    for width in (8, 16):
        model = build(Shape("gpt2", 1, width, 2, 16, 31), seed=3)
        counts = [len(token_losses(model, np.arange(3, 3 + n), 0, 16, 16)) for n in (0, 1, 2)]
        assert counts == [0, 1, 2]
        one = token_losses(model, np.array([9]), 0, 16, 16)
        hidden = model.hidden(torch.tensor([[0]]))[0, -1]  # type: ignore[operator]
        logits = model.tokens.weight @ hidden  # type: ignore[operator, union-attr]
        assert one[0] == pytest.approx(-logits.log_softmax(0)[9].item(), abs=1e-6)


def test_a_text_shorter_than_the_window_is_scored_whole() -> None:
    """Case T13: 100 tokens with a context of 256."""
    tokens = np.arange(1, 101)
    assert np.array_equal(token_losses(Telling(), tokens, 0, 256, 256), tokens)


def test_a_broken_model_leaves_strict_json(
    trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    """Case E07: a loss beyond 710 nats a token has no perplexity, and the file still parses."""
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "model.safetensors"
    weights = load_file(path)
    weights["transformer.ln_f.weight"] *= 1e5
    save_file(weights, path, metadata={"format": "pt"})
    (path.parent / "sums.json").unlink()
    evaluate(tmp_path / "run", corpus_folder, SETTINGS, tmp_path / "e.json", 1, lambda _: None)

    def no_json(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "e.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text, parse_constant=no_json)
    assert result["loss_nats"] > 710
    assert math.isfinite(result["loss_nats"]) and math.isfinite(result["bits_per_byte"])
    assert result["perplexity"] is None


@pytest.fixture
def spoilt(trained: Path, tmp_path: Path) -> Path:
    """A run that ended well, of a model whose logits are no finite numbers."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    path = folder / "checkpoint" / "model.safetensors"
    weights = load_file(path)
    weights["transformer.ln_f.weight"] *= 1e38
    save_file(weights, path, metadata={"format": "pt"})
    (path.parent / "sums.json").unlink()
    return folder


def test_a_loss_that_is_no_number_is_a_row_which_the_fit_leaves_out(
    spoilt: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    """Case E07: the file is strict JSON, and the run a diverged one."""
    result = evaluate(spoilt, corpus_folder, SETTINGS, tmp_path / "e.json", 1, lambda _: None)
    assert result == read_json(tmp_path / "e.json")
    assert (result["status"], result["loss_nats"], result["perplexity"]) == ("diverged", None, None)
    told = collect.row("d8", read_json(spoilt / "run.json"), result)
    assert (told["status"], told["loss_nats"]) == ("diverged", None)
    assert told["reason"] == "the loss on test is not finite"


@pytest.mark.parametrize("name", ["calibration", "in_context", "generation"])
def test_a_measure_that_gives_no_number_says_so(
    spoilt: Path, corpus_folder: Path, tmp_path: Path, name: str
) -> None:
    """Case E07."""
    settings = {"format": 1, "measure": name, "split": "test", "windows": 16, "seed": 1}
    result = take(spoilt, corpus_folder, settings, tmp_path / "m.json", 1, lambda _: None)
    assert result == read_json(tmp_path / "m.json")
    assert result["estimates"] == {} and "not finite" in str(result["reason"])


def test_evaluation_needs_no_network(
    trained: Path, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case E09."""
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    result = evaluate(trained, corpus_folder, SETTINGS, tmp_path / "e.json", 1, lambda _: None)
    assert result["loss_nats"] > 0


def test_scores_of_texts_pair_each_with_its_own_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cases E08 (one of two texts is right), E09 (without a network) and E10 (lines are words)."""
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    rng = np.random.default_rng(0)
    written = ["the cat sat on the mat", "a b c d e f"]
    found = _scores.scores(written, ["the cat sat on the mat", "u v w x y z"], rng)
    for name in ("bleu", "chrf", "rougeL"):
        assert found[name].value == pytest.approx(50, abs=1e-6), name
    with pytest.raises(ValueError):
        _scores.scores(written, ["the cat sat on the mat"], rng)

    summary, reference = ["One cat sat. A dog ran."], "A dog ran.{}One cat sat."
    (one, other) = (
        _scores.scores(summary, [reference.format(gap)], rng)["rougeL"].value for gap in " \n"
    )
    assert one == other == pytest.approx(50), "the longest run of both, not a sum over sentences"


def test_no_metric_with_variants_is_offered(
    trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    """Cases E08 and E10: BLEU and ROUGE are in no result but that of the measure generation."""
    result = evaluate(trained, corpus_folder, SETTINGS, tmp_path / "e.json", 1, lambda _: None)
    names = [*result, *SETTING]
    assert not [name for name in names if re.search("bleu|rouge|accuracy|wer", name)]
