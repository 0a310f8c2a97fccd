"""Measures beside the loss: known answers on models made by hand, and a trained run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.cli import main
from scalelab.corpus.shards import load
from scalelab.evaluation.columns import SPEED
from scalelab.evaluation.measure import blocks_of, open_checkpoint, take, windows_of
from scalelab.evaluation.measures import (
    Subject,
    calibration,
    in_context,
    induction,
    logit_lens,
    membership,
)
from scalelab.evaluation.run import load_model
from scalelab.files import read_json, write_json
from scalelab.plan.measures import names
from scalelab.training.batches import Batches

VOCABULARY = 12
SEPARATOR = 0


class ByHand(torch.nn.Module):
    """A model whose logits, and whose attention, a function of the ids gives."""

    def __init__(
        self, logits: Callable[..., torch.Tensor], attention: Callable[..., Any] | None = None
    ) -> None:
        super().__init__()
        self.place = torch.nn.Parameter(torch.zeros(1))
        self.logits, self.attention = logits, attention

    def forward(self, ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        """Logits (W, T, V); attention of one layer, (W, H, T, T)."""
        weights = self.attention(ids) if self.attention else None
        return SimpleNamespace(logits=self.logits(ids), attentions=(weights,))


def subject(model: Any, windows: np.ndarray | None = None) -> Subject:
    """A model before random windows of 32 tokens."""
    rng = np.random.default_rng(1)
    text = rng.integers(1, VOCABULARY, (40, 33)) if windows is None else windows
    known = np.arange(VOCABULARY)
    return Subject(model, text, lambda seen: text[seen::2], known, SEPARATOR, seed=3)


def even(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros(*ids.shape, VOCABULARY)


def causal(ids: torch.Tensor) -> torch.Tensor:
    """Even attention to all that came before, two heads."""
    lower = torch.ones(ids.shape[1], ids.shape[1]).tril()
    return (lower / lower.sum(1, keepdim=True)).expand(len(ids), 2, -1, -1)


def copying(ids: torch.Tensor) -> torch.Tensor:
    """Sure of the token that followed the last time that the present one stood there."""
    logits = torch.zeros(*ids.shape, VOCABULARY)
    half = (ids.shape[1] - 1) // 2
    for at in range(1 + half, ids.shape[1]):
        logits[torch.arange(len(ids)), at, ids[:, at - half + 1]] = 50.0
    return logits


def looking_back(ids: torch.Tensor) -> torch.Tensor:
    """The second of two heads looks where copying finds its token."""
    weights = causal(ids).clone()
    half = (ids.shape[1] - 1) // 2
    for at in range(1 + half, ids.shape[1]):
        weights[:, 1, at] = 0
        weights[:, 1, at, at - half + 1] = 1
    return weights


def test_a_model_that_copies_has_a_full_score_and_one_that_does_not_has_none() -> None:
    found = induction.induction(subject(ByHand(copying, looking_back)))
    assert found["score"].value == pytest.approx(1)
    assert found["copied"].value == found["copied_in_a_row"].value == 1
    assert found["gain_nats"].value == pytest.approx(np.log(VOCABULARY))
    none = induction.induction(subject(ByHand(even, causal)))
    assert none["score"].value < 0.05
    assert none["gain_nats"].value == pytest.approx(0, abs=1e-6)
    assert none["copied"].value < 0.3 and none["copied_in_a_row"].value < 0.01


def test_a_threshold_hides_a_gain_that_tokens_show() -> None:
    """Half of the copies right is no five in a row: the same model by two metrics."""

    def half_right(ids: torch.Tensor) -> torch.Tensor:
        logits = copying(ids)
        logits[:, ::2] = 0
        logits[:, ::2, SEPARATOR] = 50.0
        return logits

    found = induction.induction(subject(ByHand(half_right, looking_back)))
    assert found["copied"].value == pytest.approx(0.5, abs=0.05)
    assert found["copied_in_a_row"].value == 0


def test_calibration_of_known_chances() -> None:
    """Always 80% sure of one token, which comes in 60% of the places."""
    rows = np.where(np.arange(33) % 5 < 3, 1, 2)
    windows = np.stack([np.roll(rows[:-3], shift) for shift in range(30)])
    rest = np.log(0.2 / (VOCABULARY - 1))

    def sure(ids: torch.Tensor) -> torch.Tensor:
        logits = torch.full((*ids.shape, VOCABULARY), float(rest))
        logits[..., 1] = float(np.log(0.8))
        return logits

    right = float((windows[:, 1:] == 1).mean())
    found = calibration.calibration(subject(ByHand(sure), windows))
    assert found["accuracy"].value == pytest.approx(right)
    assert found["overconfidence"].value == pytest.approx(0.8 - right, abs=1e-6)
    assert found["ece"].value == pytest.approx(0.8 - right, abs=1e-6)
    assert found["ece"].se is not None and found["ece"].se < 0.02


def test_errors_of_bins_do_not_cancel() -> None:
    """Too sure in one bin and not sure enough in another: right on average, and not calibrated."""
    sure = np.array([0.9] * 10 + [0.3] * 10)
    right = np.array([1.0] * 6 + [0.0] * 4 + [1.0] * 6 + [0.0] * 4)
    assert (sure - right).mean() == pytest.approx(0)
    assert calibration.expected_error(sure, right) == pytest.approx(0.3)


def test_the_gain_from_context_is_early_less_late() -> None:
    def later_surer(ids: torch.Tensor) -> torch.Tensor:
        # Logits of the next token are known to the model by hand; it uses them late alone.
        logits = torch.zeros(*ids.shape, VOCABULARY)
        logits[:, 20:, 1] = 50.0
        return logits

    windows = np.ones((10, 33), dtype=np.int64)
    found = in_context.in_context(subject(ByHand(later_surer), windows))
    assert found["early_nats"].value == pytest.approx(np.log(VOCABULARY))
    assert found["late_nats"].value == pytest.approx(0, abs=1e-6)
    assert found["gain_nats"].value == pytest.approx(np.log(VOCABULARY))


def test_a_model_that_knows_what_it_saw_gives_it_away() -> None:
    """Sure of every token of the blocks that it saw, and of no other."""
    rng = np.random.default_rng(2)
    text = rng.integers(1, VOCABULARY, (80, 33))
    known = {tuple(row[:-1]): row for row in text[1::2].tolist()}

    def memory(ids: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*ids.shape, VOCABULARY)
        for number, row in enumerate(ids.tolist()):
            whole = known.get(tuple(row))
            if whole:
                logits[number, torch.arange(len(row)), torch.tensor(whole[1:])] = 50.0
        return logits

    found = membership.membership(subject(ByHand(memory), text))
    assert found["auc"].value == found["extracted"].value == 1
    assert found["extracted_unseen"].value == 0
    assert found["gap_nats"].value == pytest.approx(np.log(VOCABULARY))
    none = membership.membership(subject(ByHand(even), text))
    assert none["auc"].value == 0.5
    assert none["gap_nats"].value == none["extracted"].value == pytest.approx(0, abs=1e-6)


def test_guesses_by_loss_against_a_count_of_pairs() -> None:
    rng = np.random.default_rng(5)
    seen, unseen = rng.integers(0, 9, 40).astype(float), rng.integers(2, 12, 50).astype(float)
    pairs = [(a < b) + (a == b) / 2 for a in seen for b in unseen]
    assert membership.area(seen, unseen) == pytest.approx(np.mean(pairs))
    assert membership.advantage(np.array([1.0, 3.0]), np.array([2.0, 2.5])) == 0.5 - 0.5


def test_seen_blocks_are_those_of_the_steps_and_unseen_ones_are_not(
    trained: Path, corpus_folder: Path
) -> None:
    run = read_json(trained / "run.json")
    corpus = load(corpus_folder)
    recipe = run["spec"]["training"]
    data = Batches(corpus.tokens["train"], 16, recipe["batch_tokens"], run["spec"]["seed"])
    stepped = {tuple(row) for step in range(run["steps"]) for row in data.step(step)[0].tolist()}
    seen, unseen = (blocks_of(corpus, run, 10**6, one)[:, :-1] for one in (True, False))
    assert {tuple(row) for row in seen.tolist()} == stepped
    assert len(seen) + len(unseen) == (len(corpus.tokens["train"]) - 1) // 16
    assert not stepped & {tuple(row) for row in unseen.tolist()}


def test_layers_that_change_nothing_decide_nothing() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_layer": 4, "n_embd": 16, "n_head": 2, "n_positions": 32, "vocab_size": VOCABULARY}
    model = GPT2LMHeadModel(GPT2Config(**shape, initializer_range=0.5)).eval()
    for block in model.transformer.h[1:]:
        for last in (block.attn.c_proj, block.mlp.c_proj):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    found = logit_lens.logit_lens(subject(model))
    assert 0 < found["decision_depth"].value <= 0.25
    assert found["middle_excess_nats"].value == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        model.transformer.h[3].mlp.c_proj.bias.normal_(std=5)
    assert logit_lens.logit_lens(subject(model))["decision_depth"].value > 0.6


# Two need a text with canaries, or with sentences: their own tests have it.
@pytest.mark.parametrize("name", sorted({*names()} - {"canaries", "tasks"}))
def test_every_measure_is_taken_of_a_trained_run(
    name: str, trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    settings = {"measure": name, "split": "test", "windows": 20, "seed": 1}
    first = take(trained, corpus_folder, settings, tmp_path / "a.json", 1, lambda _: None)
    again = take(trained, corpus_folder, settings, tmp_path / "b.json", 1, lambda _: None)
    assert first["reason"] is None and first["estimates"]
    assert first["estimates"] == read_json(tmp_path / "a.json")["estimates"]
    untimed = [
        {key: value for key, value in one["estimates"].items() if not key.endswith(SPEED)}
        for one in (first, again)
    ]
    assert untimed[0] == untimed[1] and untimed[0]
    for one in first["estimates"].values():
        assert np.isfinite(one["value"]) and one["se"] >= 0


def test_the_checkpoint_gives_the_losses_of_the_run(trained: Path, corpus_folder: Path) -> None:
    """What is measured is the model that was evaluated."""
    corpus = load(corpus_folder)
    windows = windows_of(corpus, "test", 16, 12, alone=False)
    assert (windows[:, 0] == corpus.separator).all() and windows.shape[1] == 17
    model, _ = load_model(trained, read_json(trained / "run.json"), corpus.separator)
    ids = torch.from_numpy(windows)
    with torch.inference_mode():
        ours = model.eval().losses(ids[:, :-1], ids[:, 1:]).double().numpy()
    opened = open_checkpoint(trained / "checkpoint")
    told = Subject(opened, windows, lambda seen: windows, windows[0], 0, 1)
    found = in_context.in_context(told)
    assert found["late_nats"].value == pytest.approx(ours[:, 14:16].mean(), abs=1e-4)


def test_windows_of_documents_alone_lie_in_one_document(corpus_folder: Path) -> None:
    corpus = load(corpus_folder)
    found = windows_of(corpus, "test", 16, 100, alone=True)
    assert len(found) and not (found[:, 1:] == corpus.separator).any()
    assert len(windows_of(corpus, "test", 1500, 100, alone=True)) == 0


def test_what_cannot_be_measured_says_why(
    trained: Path, corpus_folder: Path, tmp_path: Path, spec: Callable[..., dict[str, Any]]
) -> None:
    run = read_json(trained / "run.json")
    settings = {"measure": "calibration", "split": "test", "windows": 4, "seed": 1}
    few = take(trained, corpus_folder, settings, tmp_path / "few.json", 1, lambda _: None)
    assert few["estimates"] == {} and "expected 8 or more" in few["reason"]
    write_json(tmp_path / "run" / "run.json", {**run, "status": "diverged"})
    bad = take(tmp_path / "run", corpus_folder, settings, tmp_path / "x.json", 1, lambda _: None)
    assert bad["reason"] == "the run ended as diverged"


def test_a_checkpoint_that_is_not_there_is_one_sentence(
    trained: Path, corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "run" / "run.json", read_json(trained / "run.json"))
    settings = '{"measure": "calibration", "split": "test", "windows": 20, "seed": 1}'
    words = ["measure", "--run", str(tmp_path / "run"), "--corpus", str(corpus_folder)]
    assert main([*words, "--settings", settings, "--out", str(tmp_path / "m.json")]) == 2
    assert "expected a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()
