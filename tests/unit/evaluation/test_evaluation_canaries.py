"""Exposure and extraction of canaries: known answers, and a run that saw some."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.config import CanariesConfig, CorpusConfig
from scalelab.corpus.prepare import prepare
from scalelab.corpus.shards import load
from scalelab.evaluation.measure import planted_in, subject_of, take
from scalelab.evaluation.measures import NotMeasured, Planted, Subject
from scalelab.evaluation.measures.canaries import REFERENCES, _read, by_fit, canaries, exposure
from scalelab.files import read_json
from scalelab.plan.data import fingerprint
from scalelab.training.batches import Batches

CONTEXT = 64


def encode(texts: list[str]) -> Iterator[np.ndarray]:
    """Ids of characters; 0 is the separator."""
    return (np.frombuffer(text.encode(), np.uint8).astype(np.int64) + 1 for text in texts)


def asked(secrets: list[str], model: Callable[[torch.Tensor], torch.Tensor], digits: int) -> Any:
    """What the measure finds of canaries of a name each; the last one was never planted."""

    class ByHand(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = torch.nn.Parameter(torch.zeros(1))

        def forward(self, ids: torch.Tensor, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(logits=model(ids))

    names = [f"n{place} is " for place in range(len(secrets))]
    found = [
        {"before": name, "secret": one, "after": "", "repeats": int(name != names[-1])}
        for name, one in zip(names, secrets, strict=True)
    ]
    planted = Planted(found, 10**digits, np.arange(len(secrets)), encode)
    windows = np.zeros((8, CONTEXT + 1), dtype=np.int64)
    subject = Subject(
        ByHand(), windows, lambda _: windows, windows[0], 0, 3, planted=lambda: planted
    )
    return canaries(subject)


def even(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros(*ids.shape, 257)


def memory(text: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Sure of each character of a text after those before it, and of none in another."""
    row = torch.tensor([0, *next(encode([text])).tolist()])

    def logits(ids: torch.Tensor) -> torch.Tensor:
        found = even(ids)
        for at in range(len(row) - 1):
            if at < ids.shape[1]:
                found[(ids[:, : at + 1] == row[: at + 1]).all(dim=1), at, row[at + 1]] = 50.0
        return found

    return logits


def test_a_secret_that_is_known_is_exposed_as_far_as_can_be_told() -> None:
    found = asked(["4711", "0815"], memory("n0 is 4711"), digits=4)
    assert found["exposure_x1"].value == math.log2(REFERENCES + 1) == 10
    assert found["extracted_x1"].value == 1
    assert found["exposure_x0"].value == found["extracted_x0"].value == 0
    assert found["seen_x1"].value == 0 and found["seen_x0"].value == 1


def test_of_few_secrets_all_are_ranked() -> None:
    """Digits that are the likelier the smaller they are: the rank of 37 is known."""

    def falling(ids: torch.Tensor) -> torch.Tensor:
        found = even(ids)
        found[..., ord("0") + 1 : ord("9") + 2] = -(torch.arange(10.0) ** 1.5)
        return found

    found = asked(["37", "00"], falling, digits=2)
    nats = np.array([a**1.5 + b**1.5 for a in range(10) for b in range(10)])
    rank = (nats <= 3**1.5 + 7**1.5 + 1e-9).sum()
    assert found["exposure_x1"].value == pytest.approx(math.log2(100 / rank))
    assert found["exposure_x0"].value == pytest.approx(math.log2(100))


def test_a_secret_of_the_middle_has_one_bit_and_chance_has_one_over_ln_2() -> None:
    assert exposure(np.array([2.0, 1.0, 3.0, 4.0])) == 1
    assert exposure(np.zeros(9)) == 0
    drawn = np.random.default_rng(0).random((3000, 1024))
    assert np.mean([exposure(row) for row in drawn]) == pytest.approx(1 / math.log(2), abs=0.06)


def test_the_fit_goes_on_where_the_sample_ends() -> None:
    from scipy.stats import norm

    others = norm.ppf((np.arange(REFERENCES) + 0.5) / REFERENCES)
    for z in (-2.0, -4.0):
        bits = by_fit(np.array([z, *others]), 10**6)
        assert bits == pytest.approx(-norm.logcdf(z) / math.log(2), rel=0.05)
    assert by_fit(np.array([-30.0, *others]), 10**6) == math.log2(10**6)
    assert by_fit(np.zeros(9), 10) == 0 and by_fit(np.array([0.0, 1.0, 1.0]), 8) == 3


@pytest.fixture(scope="module")
def planted_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bytes of random words with canaries of four digits."""
    root = tmp_path_factory.mktemp("planted")
    rng = random.Random(6)
    for number in range(60):
        words = ("".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(110))
        (root / f"{number:02}.txt").write_text(" ".join(words), encoding="utf-8")
    config = CorpusConfig(
        source="files",
        paths=(str(root / "*.txt"),),
        tokenizer="bytes",
        test_tokens=2000,
        tuning_tokens=1000,
        canaries=CanariesConfig(count=2, repeats=(12,), digits=2),
    )
    spec = {"format": 1, "config": dataclasses.asdict(config), "seed": 7}
    prepare({**spec, "fingerprint": fingerprint(config)}, root / "corpus", lambda _: None)
    return root / "corpus"


def run_of(spec: dict[str, Any], steps: int, unique: int | None) -> dict[str, Any]:
    """What a run that ended well says of itself."""
    told = {**spec, "model": {**spec["model"], "context": CONTEXT}}
    told["training"] = {**spec["training"], "batch_tokens": 256, "unique_tokens": unique}
    return {"id": "x", "status": "ok", "spec": told, "D": 256 * steps}


@pytest.mark.parametrize(("steps", "unique"), [(70, None), (90, 128 * 64), (33, 128 * 64)])
def test_what_a_run_saw_is_counted_as_in_its_batches(
    spec: Callable[..., dict[str, Any]], planted_corpus: Path, steps: int, unique: int | None
) -> None:
    corpus = load(planted_corpus)
    run = run_of(spec(), steps, unique)
    data = Batches(corpus.tokens["train"], CONTEXT, 256, run["spec"]["seed"], unique)
    found = planted_in(planted_corpus, corpus, run)
    stepped = [torch.cat([x, y[:, -1:]], dim=1) for x, y in map(data.step, range(steps))]
    rows = np.concatenate([batch.numpy() for batch in stepped])
    for canary, seen in zip(found.canaries, found.seen.tolist(), strict=True):
        ids = next(iter(found.encode([canary["planted"]])))
        within = np.lib.stride_tricks.sliding_window_view(rows, len(ids), axis=1)
        assert seen == int((within == ids).all(axis=2).sum())
        assert seen or unique or not canary["repeats"]


def test_a_trained_run_is_measured_and_its_losses_are_those_of_the_text(
    spec: Callable[..., dict[str, Any]], planted_corpus: Path, tmp_path: Path
) -> None:
    from scalelab.training.run import train

    told = run_of(spec(steps=30), 30, None)["spec"]
    del told["training"]["unique_tokens"]
    train(told, planted_corpus, tmp_path / "run", 1, lambda _: None)
    settings = {"measure": "canaries", "split": "test", "windows": 8, "seed": 1}
    first = take(tmp_path / "run", planted_corpus, settings, tmp_path / "m.json", 1, print)
    assert first["reason"] is None
    kinds = ("exposure", "fitted", "extracted", "seen")
    assert set(first["estimates"]) == {f"{kind}_x{times}" for kind in kinds for times in (0, 12)}
    for one in first["estimates"].values():
        assert np.isfinite(one["value"]) and one["se"] >= 0

    run, corpus = read_json(tmp_path / "run" / "run.json"), load(planted_corpus)
    subject = subject_of(tmp_path / "run", run, corpus, planted_corpus, settings, 1)
    again = {name: dataclasses.asdict(one) for name, one in canaries(subject).items()}
    assert again == first["estimates"]
    planted = planted_in(planted_corpus, corpus, run)
    canary = planted.canaries[-1]
    secrets = [canary["secret"], "42", "07"]
    nats, _ = _read(subject, planted, canary, secrets)
    for secret, found in zip(secrets, nats, strict=True):
        ids = torch.tensor([0, *(code + 1 for code in (canary["before"] + secret).encode())])
        logits = subject.model(ids[None]).logits.detach()[0, :-1]
        told = logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]]
        assert found == pytest.approx(-float(told[-2:].sum()), abs=1e-4)


def test_what_cannot_be_measured_says_why(
    trained: Path, corpus_folder: Path, planted_corpus: Path, tmp_path: Path
) -> None:
    settings = {"measure": "canaries", "split": "test", "windows": 20, "seed": 1}
    none, short = (
        take(trained, folder, settings, tmp_path / "m.json", 1, lambda _: None)
        for folder in (corpus_folder, planted_corpus)
    )
    assert none["reason"] == "the corpus has no canaries (see corpus.canaries)"
    assert short["reason"].endswith("tokens, expected at most the context of 16")
    windows = np.zeros((8, 17), dtype=np.int64)
    with pytest.raises(NotMeasured):
        canaries(Subject(None, windows, lambda _: windows, windows[0], 0, 1))
