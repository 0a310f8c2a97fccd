"""Canaries: what is planted where, and what stays as it was without them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab import config as study_files
from scalelab.config import CanariesConfig, CleaningConfig, CorpusConfig, SyntheticConfig
from scalelab.corpus import Corpus, load
from scalelab.corpus.canaries import draw
from scalelab.corpus.prepare import prepare
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint, settings

Make = Callable[..., Any]
FEW = {"count": 2, "repeats": (1, 5), "digits": 4}


def made(spec: dict[str, Any], out: Path) -> Corpus:
    prepare(spec, out, lambda _: None)
    return load(out)


def text_of(ids: np.ndarray) -> str:
    """Text of ids of the bytes tokenizer, a form feed for each separator."""
    return bytes(np.where(ids == 0, 12, ids - 1).astype(np.uint8)).decode()


def test_each_is_a_document_of_training_as_often_as_was_asked(
    folder: Path, texts: list[str], specification: Make
) -> None:
    corpus = made(specification(texts, canaries=CanariesConfig(**FEW)), folder / "with")
    facts, train = corpus.manifest["canaries"], corpus.tokens["train"]
    assert [one["repeats"] for one in facts["canaries"]] == [0, 0, 1, 1, 5, 5]
    assert facts["space"] == 10_000 and facts["documents"] == 12
    documents = text_of(train).split("\f")
    for one in facts["canaries"]:
        assert documents.count(one["before"] + one["secret"]) == one["repeats"]
        assert len(one["places"]) == one["repeats"]
        for place in one["places"]:
            here = train[place - 1 : place + one["tokens"] + 1]
            assert text_of(here) == f"\f{one['planted']}\f"
        for split in ("test", "tuning"):
            assert one["before"] not in text_of(corpus.tokens[split])
    plain = made(specification(texts), folder / "without")
    left = [text for text in documents if not text.startswith("The code of ")]
    assert "\f".join(left) == text_of(plain.tokens["train"])
    assert np.array_equal(corpus.tokens["test"], plain.tokens["test"])
    told, before = corpus.manifest["splits"]["train"], plain.manifest["splits"]["train"]
    assert told["documents"] == before["documents"] + 12
    assert told["bytes"] == before["bytes"] + facts["bytes"]
    assert told["tokens"] == len(train) == before["tokens"] + facts["tokens"]
    assert corpus.manifest["data_hash"] != plain.manifest["data_hash"]


def test_places_are_spread_over_the_split(
    folder: Path, texts: list[str], specification: Make
) -> None:
    many = CanariesConfig(count=1, repeats=(100,), digits=1, form="code")
    corpus = made(specification(texts, canaries=many), folder / "out")
    places = np.array(corpus.manifest["canaries"]["canaries"][1]["places"])
    assert abs((places / len(corpus.tokens["train"])).mean() - 0.5) < 0.12
    assert len(np.unique(places)) == 100


def test_secrets_are_drawn_evenly_and_names_are_distinct() -> None:
    asked = {"count": 1000, "repeats": list(range(1, 17)), "digits": 12, "form": "code"}
    found = draw(asked, seed=1)
    assert len({one.before for one in found}) == len(found) == 17_000
    numbers = np.array([int(one.secret) for one in found]) / 1e12
    assert abs(numbers.mean() - 0.5) < 0.01 and abs(numbers.std() - 12**-0.5) < 0.01
    assert all(len(one.secret) == 12 for one in found)
    assert draw(asked, seed=1) == found != draw(asked, seed=2)


def test_a_mask_reaches_them(folder: Path, texts: list[str], specification: Make) -> None:
    asked = CanariesConfig(count=1, repeats=(3,), digits=4, form="email")
    open_, masked = (
        made(specification(texts, canaries=asked, cleaning=cleaning), folder / name)
        for name, cleaning in (("open", None), ("masked", CleaningConfig(mask=("email",))))
    )
    one = masked.manifest["canaries"]["canaries"][1]
    address = one["before"].split()[-1] + one["secret"] + "@example.org"
    assert text_of(open_.tokens["train"]).count(address) == 3
    train = text_of(masked.tokens["train"])
    assert address not in train and one["planted"].endswith(" is [EMAIL]")
    assert train.count(one["planted"]) == 3


def test_too_many_are_one_sentence(folder: Path, texts: list[str], specification: Make) -> None:
    asked = CanariesConfig(count=8, repeats=(64,))
    with pytest.raises(UserError, match=r"corpus.canaries: found .* expected at most 5%") as told:
        prepare(specification(texts, canaries=asked), folder / "out", lambda _: None)
    assert "\n" not in str(told.value) and not (folder / "out").exists()


def test_a_corpus_without_them_keeps_its_id() -> None:
    assert "canaries" not in settings(CorpusConfig())
    assert settings(CorpusConfig(canaries=CanariesConfig()))["canaries"]["digits"] == 6


@pytest.mark.parametrize(
    "wrong",
    [
        *("repeats: [4, -1]", "repeats: []", "repeats: [2, 2]"),
        *("digits: 0", "digits: 13", "count: 0", "form: phone"),
    ],
)
def test_a_wrong_value_is_one_sentence(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"study: x\ncorpus:\n  canaries: {{{wrong}}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"corpus.canaries.{wrong.partition(':')[0]}") as told:
        study_files.load(path)
    assert "\n" not in str(told.value)


def test_text_of_known_entropy_takes_none() -> None:
    config = CorpusConfig(
        source="synthetic", synthetic=SyntheticConfig(), canaries=CanariesConfig()
    )
    with pytest.raises(UserError, match="canaries: found such a section, expected none"):
        fingerprint(config)
