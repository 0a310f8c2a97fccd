"""The source whose entropy is known: its text, its truth, and what it refuses."""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from scalelab.config import CorpusConfig, SyntheticConfig
from scalelab.corpus import facts
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.prepare import prepare
from scalelab.corpus.shards import load
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint, settings
from scalelab.plan.synthetic import DOCUMENT_TOKENS, FACTS


def corpus(**fields: Any) -> CorpusConfig:
    """A small corpus of the source."""
    made = SyntheticConfig(**{"tokens": 900_000, "keys": 60, "noise": 0.2, **fields})
    return CorpusConfig(
        source="synthetic",
        synthetic=made,
        vocab_size=257 + made.keys,
        min_document_bytes=0,
        near_duplicate_threshold=None,
        overlap_tokens=0,
        test_tokens=205_000,
        tuning_tokens=205_000,
    )


def read(config: CorpusConfig) -> list[Document]:
    source = get_source("synthetic")
    return list(source(settings(config), fingerprint(config), Tally(), print))


@pytest.fixture(scope="module")
def text() -> str:
    return "".join(document.text for document in read(corpus(tokens=4_000_000)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = corpus()
    spec = {"format": 1, "config": settings(config), "seed": 7, "fingerprint": fingerprint(config)}
    root = tmp_path_factory.mktemp("corpus")
    prepare(spec, root, lambda _: None)
    return root


def test_the_entropy_that_is_counted_is_the_one_that_is_stated(text: str) -> None:
    """Plug-in entropies with Miller's correction, (cells - 1) / 2n nats (Miller 1955)."""
    known = facts.truth(dataclasses.asdict(SyntheticConfig(keys=60, noise=0.2)))
    counted = np.frombuffer(text.encode(), dtype=np.uint8).reshape(-1, 3).astype(np.int64)
    key = counted[:, 0] * 256 + counted[:, 1]

    def entropy(codes: np.ndarray) -> float:
        count = np.unique(codes, return_counts=True)[1]
        share = count / count.sum()
        return float(-(share * np.log(share)).sum() + (len(count) - 1) / (2 * count.sum()))

    share = FACTS / DOCUMENT_TOKENS
    keys = entropy(key)
    assert keys * share == pytest.approx(known.key_nats, abs=0.002)
    assert (entropy(key * 256 + counted[:, 2]) - keys) * share == pytest.approx(
        known.value_nats, abs=0.002
    )
    total = known.key_nats + known.value_nats + known.separator_nats
    assert known.entropy_nats == pytest.approx(total, rel=1e-12)


def test_frequencies_follow_zipf(text: str) -> None:
    """p_1 / p_2 = 2^(1 + a) with a = 1."""
    words = [text[place : place + 2] for place in range(0, len(text), 3)]
    first, second = (words.count(word) for word in facts.key_words(2))
    assert first / second == pytest.approx(4, rel=0.02)


def test_special_cases_of_the_entropy() -> None:
    """Two keys of odds 4 to 1, and values that are all noise."""
    known = facts.truth({"keys": 2, "zipf": 1.0, "noise": 0.0})
    key = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert known.key_nats == pytest.approx(key * 2047 / 4095)
    assert known.value_nats == 0
    assert known.exponent_tokens == 0.5
    even = facts.noisy_values(1 - 1e-12)
    assert facts.entropy(even) == pytest.approx(math.log(31))


def test_the_floor_of_a_split_is_near_the_entropy_rate(folder: Path) -> None:
    """Within four standard errors of a mean of independent facts."""
    opened = load(folder)
    known = opened.manifest["truth"]
    law = facts.probabilities(60, 1.0)
    spread = math.sqrt(
        float((law * np.log(law) ** 2).sum()) - float((law * np.log(law)).sum()) ** 2
    )
    for split in ("test", "tuning"):
        error = (spread + 2) / 2 / math.sqrt(len(opened.tokens[split]) / 2)
        difference = known[f"floor_{split}_nats"] - known["entropy_nats"]
        assert 0 < abs(difference) < 4 * error


def test_every_fact_is_two_tokens_and_documents_stay_whole(folder: Path) -> None:
    opened = load(folder)
    for split in ("train", "test", "tuning"):
        ids = np.asarray(opened.tokens[split])
        at = np.flatnonzero(ids == opened.separator)
        assert set(np.diff(at)) == {DOCUMENT_TOKENS}
    assert opened.manifest["overlap"]["tokens_over_document_cap"] < DOCUMENT_TOKENS * 2
    assert len(opened.tokens["test"]) == 205_000


def test_the_text_depends_on_the_configuration_alone() -> None:
    first, again = (read(corpus(tokens=9000)) for _ in range(2))
    assert first == again and len(first) == 3
    other = read(corpus(tokens=9000, seed=1))
    assert other[0].text != first[0].text
    longer = read(corpus(tokens=20_000))
    assert longer[:3] == first


def test_the_text_is_the_same_on_every_machine() -> None:
    text = read(corpus(tokens=4000))[0].text
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "494d006825c225f8fd25f50f6bc37b757df201dc4e8990e7f66f303be90958ec"
    )


def test_the_ideal_learner_follows_the_law() -> None:
    """Hutter 2021: exponent a / (1 + a), where D is far from seeing every key."""
    tokens = np.array([2e3, 2e4])
    made = {"keys": 2704, "zipf": 1.0, "noise": 0.0}
    low, high = facts.ideal_excess(made, tokens)
    assert math.log10(low / high) == pytest.approx(0.5, abs=0.02)
    # Integral of p e^(-n p) over k with p = k^-2 / zeta(2): sqrt(pi / (n zeta(2))) / 2.
    facts_seen = tokens[0] * 2047 / 4095
    unseen = math.sqrt(math.pi / (facts_seen * math.pi**2 / 6)) / 2
    assert low == pytest.approx(unseen * math.log(31) * 2047 / 4095, rel=0.03)


def test_the_ideal_learner_pays_for_noise_until_it_has_seen_enough() -> None:
    cost = facts.view_costs(0.2, 2000)
    first = math.log(31) - facts.entropy(facts.noisy_values(0.2))
    assert cost[0] == pytest.approx(first, rel=1e-9)
    assert all(np.diff(cost[:5]) < 0) and cost[20] < 1e-3 * first


def test_corpora_of_real_text_keep_their_identity() -> None:
    assert "synthetic" not in settings(CorpusConfig())
    assert settings(corpus())["synthetic"]["keys"] == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overlap_tokens": 32}, "overlap_tokens: found 32, expected 0"),
        ({"near_duplicate_threshold": 0.7}, "near_duplicate_threshold: found 0.7, expected null"),
        ({"max_bytes": 10_000}, "max_bytes: found 10000, expected null"),
        ({"min_document_bytes": 7000}, "min_document_bytes: found 7000, expected at most 6141"),
        ({"tokenizer": "bytes"}, "tokenizer: found bytes, expected bpe"),
        ({"vocab_size": 512}, "vocab_size: found 512, expected 317"),
        ({"test_tokens": 100_000}, "test_tokens: found 100000, expected at least 204750"),
        ({"source": "python"}, "synthetic: found source 'python', expected this section with"),
        ({"synthetic": None}, "synthetic: found no such section, expected this section with"),
    ],
)
def test_settings_that_would_change_the_entropy_are_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fingerprint(dataclasses.replace(corpus(), **change))


@pytest.mark.parametrize(
    "change", [{"keys": 1}, {"keys": 2705}, {"zipf": 0}, {"noise": 1}, {"noise": -0.1}]
)
def test_impossible_sources_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        corpus(**change)
