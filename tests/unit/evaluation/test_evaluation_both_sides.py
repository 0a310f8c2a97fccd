"""Held-out losses of families that read both sides: what is scored, of what it is called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.evaluation import both_sides
from scalelab.evaluation.both_sides import conditional_losses, pseudo_losses
from scalelab.evaluation.collect import row
from scalelab.evaluation.measure import take
from scalelab.evaluation.run import evaluate, load_model
from scalelab.figures import numbers
from scalelab.files import read_json
from scalelab.laws.study import fit_study
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
SETTINGS = {"format": 1, "split": "test", "context": 16, "stride": 16}


@pytest.fixture(scope="module", params=["bert", "t5"])
def run(
    request: pytest.FixtureRequest,
    spec: Spec,
    corpus_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder of a run of a family, trained by the product."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    made = spec(steps=150)
    made["model"] |= {"family": request.param, "width": 16}
    result = train(made, corpus_folder, folder, 1, lambda _: None)
    assert result["status"] == "ok"
    return folder


def test_a_run_learns_and_is_scored_as_what_it_predicts(
    run: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    score = evaluate(run, corpus_folder, SETTINGS, tmp_path / "e.json", 1, told.append)
    trained = read_json(run / "run.json")
    family = trained["spec"]["model"]["family"]
    quantity, title = {
        "bert": ("pseudo", "held-out pseudo-loss"),
        "t5": ("conditional", "held-out conditional loss"),
    }[family]
    assert score["quantity"] == quantity
    assert title in told[-1]
    assert "bits/byte" not in told[-1]
    assert (score["bits_per_byte"], score["bytes"]) == (None, None)
    assert score["loss_nats"] < np.log(257) - 1.5, "letters and spaces are told from other bytes"
    assert 0 < score["loss_nats_se"] < 0.3
    assert row("a", trained, score)["quantity"] == quantity
    again = evaluate(run, corpus_folder, SETTINGS, tmp_path / "again.json", 1, told.append)
    assert again["loss_nats"] == score["loss_nats"]


def test_the_checkpoint_opens_with_its_tokens(run: Path) -> None:
    transformers = pytest.importorskip("transformers")
    family = read_json(run / "run.json")["spec"]["model"]["family"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "checkpoint")
    if family == "bert":
        assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 257)
        assert tokenizer("ab[MASK]c")["input_ids"] == [98, 99, 257, 100]
    else:
        assert tokenizer("a<extra_id_1>")["input_ids"] == [98, 258]
    kind = {"bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}[family]
    model = getattr(transformers, kind).from_pretrained(run / "checkpoint")
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)


def test_measures_of_causal_models_have_a_reason_instead(
    run: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    wanted = {"measure": "calibration", "split": "test", "windows": 8, "seed": 1}
    found = take(run, corpus_folder, wanted, tmp_path / "m.json", 1, lambda _: None)
    assert found["estimates"] == {}
    assert "reads both sides" in found["reason"]


def opened(run: Path, corpus_folder: Path, family: str) -> tuple[Any, np.ndarray]:
    made = read_json(run / "run.json")
    if made["spec"]["model"]["family"] != family:
        pytest.skip("of the other family")
    model, _ = load_model(run, made, 0)
    return model.eval(), np.asarray(load(corpus_folder).tokens["test"])


def test_each_token_is_masked_alone_in_its_window(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one pass for each place through the wrapped model."""
    model, tokens = opened(run, corpus_folder, "bert")
    text = tokens[:150]
    places, losses = pseudo_losses(model, text, 16, 257)
    assert places.tolist() == [*range(1, 150)]
    for place, loss in [*zip(places, losses, strict=True)][::7]:
        start = min(place // 16 * 16, 150 - 16)
        ids = torch.from_numpy(text[start : start + 16].astype(np.int64))[None]
        ids[0, place - start] = 257
        with torch.no_grad():
            logits = model.inner(input_ids=ids).logits[0, place - start]
        assert loss == pytest.approx(-torch.log_softmax(logits, -1)[text[place]].item(), abs=1e-5)
    monkeypatch.setattr(both_sides, "BATCH_TOKENS", 48)
    assert pseudo_losses(model, text, 16, 257)[1] == pytest.approx(losses, abs=1e-5)
    monkeypatch.setattr(both_sides, "SCORED_TOKENS", 20)
    some, found = pseudo_losses(model, text, 16, 257)
    assert len(some) == 20
    assert (some[0], some[-1]) == (1, 149)
    assert found == pytest.approx(losses[some - 1], abs=1e-5)


def test_tokens_of_spans_are_scored_and_what_stands_for_them_is_not(
    run: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokens = opened(run, corpus_folder, "t5")
    text = tokens[:330]
    places, losses = conditional_losses(model, text, 16, 257)
    assert len(places) == len({*places.tolist()}) == 20 * 2, "20 whole blocks, two tokens of each"
    assert places.max() < 320
    assert ((places // 16) == np.repeat(np.arange(20), 2)).all()
    block, rows = text[:16].astype(np.int64), places[:2]
    keep = [*block[: rows[0]], 257, *block[rows[-1] + 1 :]]
    targets = torch.tensor([[257, *block[rows], 258]])
    with torch.no_grad():
        told = model.inner(input_ids=torch.tensor([keep]), labels=targets).logits[0]
    expected = -torch.log_softmax(told, -1)[torch.arange(1, 3), targets[0, 1:3]]
    assert losses[:2] == pytest.approx(expected.tolist(), abs=1e-5)
    monkeypatch.setattr(both_sides, "BATCH_TOKENS", 48)
    assert conditional_losses(model, text, 16, 257)[1] == pytest.approx(losses, abs=1e-5)
    with pytest.raises(UserError, match=r"found 9 held-out tokens, expected the 16 of a block"):
        conditional_losses(model, text[:9], 16, 257)


# --- Laws and figures -----------------------------------------------------------------------------


def table(quantities: list[str]) -> Any:
    import pandas as pd

    sizes = np.geomspace(1e4, 1e6, len(quantities))
    return pd.DataFrame({"N": sizes, "loss_nats": 2 + 30 * sizes**-0.3, "quantity": quantities})


def test_a_law_says_what_its_losses_are() -> None:
    fits = [{"law": "power_offset", "x": "N", "intervals": "robust"}]
    laws = fit_study(table(["pseudo"] * 8), fits, "masked")
    assert laws["fits"][0]["quantity"] == "pseudo"
    assert numbers.loss_label(laws["fits"][0]) == "held-out pseudo-loss (nats per token)"
    plain = fit_study(table(["next_token"] * 8), fits, "plain")
    assert "quantity" not in plain["fits"][0]
    assert numbers.loss_label(plain["fits"][0]) == "held-out loss (nats per token)"


def test_losses_of_different_quantities_have_no_law_in_common() -> None:
    with pytest.raises(UserError, match="quantity"):
        fit_study(table(["pseudo", "next_token"] * 4), [{"law": "power_offset", "x": "N"}], "mixed")
