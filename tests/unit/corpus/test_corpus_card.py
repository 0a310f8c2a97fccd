"""The report card of a corpus, cleaning within a whole preparation, and the verb `card`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab import cli
from scalelab.corpus import card as cards
from scalelab.corpus import load
from scalelab.corpus import prepare as preparing
from scalelab.corpus.card import Card, text_card
from scalelab.errors import UserError
from scalelab.files import read_json

Make = Callable[..., Any]
MANIFEST = {
    "id": "0123456789ab",
    "data_hash": "f" * 64,
    "tokenizer": {"vocab_size": 512, "ids_used_in_training": 384},
    "read": {"read": {"documents": 12, "bytes": 5000}},
    "removed": {
        "short": {"documents": 2, "bytes": 20},
        "exact duplicate": {"documents": 4, "bytes": 400},
    },
}
SENTENCES = {
    "en": "The harbour was quiet before the first ferry came in, and nobody counted the boats.",
    "de": "Der Hafen war still, bevor die erste Fähre kam, und niemand zählte die Boote.",
    "fr": "Le port était calme avant l'arrivée du premier bac, et personne ne comptait.",
}


def test_totals_are_those_of_the_documents() -> None:
    card = Card()
    for text, tokens in [("ab", 1), ("äö", 2), ("x" * 30, 3), ("y" * 40, 9), ("z", 0)]:
        card.add(text, tokens)
    found = card.as_dict(MANIFEST)
    assert (found["documents"], found["bytes"], found["tokens"]) == (5, 2 + 4 + 30 + 40 + 1, 15)
    assert found["bytes_per_token"] == pytest.approx(77 / 15)
    assert found["vocabulary"] == {"size": 512, "used": 384, "share_used": 0.75}
    lengths = found["lengths"]
    assert [
        (one["from_tokens"], one["below_tokens"], one["documents"], one["tokens"])
        for one in lengths["bins"]
    ] == [(0, 1, 1, 0), (1, 2, 1, 1), (2, 4, 2, 5), (4, 8, 0, 0), (8, 16, 1, 9)]
    assert (lengths["shortest_tokens"], lengths["longest_tokens"]) == (0, 9)
    assert lengths["mean_tokens"] == 3
    # 5 documents are left of 11 that were read: 2 were short, 4 were duplicates.
    assert found["duplicates"]["exact duplicate"]["share_of_documents"] == pytest.approx(4 / 11)
    assert found["duplicates"]["near duplicate"] == {
        "documents": 0,
        "bytes": 0,
        "share_of_documents": 0,
    }
    assert found["cleaning"] == {}


def test_bins_agree_with_numpy() -> None:
    rng = np.random.default_rng(4)
    sizes = rng.lognormal(4, 2, 3000).astype(int) + 1
    card = Card(sample=1)
    for size in sizes.tolist():
        card.add("a", size)
    bins = card.as_dict(MANIFEST)["lengths"]["bins"]
    edges = [one["from_tokens"] for one in bins] + [bins[-1]["below_tokens"]]
    assert np.array_equal(np.histogram(sizes, edges)[0], [one["documents"] for one in bins])
    assert sum(one["tokens"] for one in bins) == sizes.sum()


def test_languages_are_those_of_a_sample_that_no_order_changes() -> None:
    texts = [f"{text} {i}" for text in SENTENCES.values() for i in range(40)]
    found = []
    for order in (texts, texts[::-1]):
        card = Card(sample=60)
        for text in order:
            card.add(text, 20)
        assert len(card._sample) == 60, "no list of documents"
        found.append(card.as_dict(MANIFEST)["languages"])
    assert found[0] == found[1]
    assert found[0]["sampled_documents"] == sum(found[0]["documents"].values()) == 60
    assert set(found[0]["documents"]) == set(SENTENCES)


def test_without_the_library_languages_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise UserError("not installed")

    monkeypatch.setattr(cards, "Languages", absent)
    card = Card()
    card.add(SENTENCES["en"], 20)
    found = card.as_dict(MANIFEST)
    assert found["languages"] == {"sampled_documents": 0, "documents": None}
    assert "languages: unknown" in text_card(found)


def test_an_empty_corpus_has_a_card() -> None:
    assert "documents" in text_card(Card().as_dict(MANIFEST))


# --- Within a preparation -------------------------------------------------------------------------


def section(**values: Any) -> dict[str, Any]:
    return {"line_ends": True, "mask": ("email",), **values}


def test_a_corpus_has_its_card_and_a_verb_shows_it(
    folder: Path, texts: list[str], specification: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    preparing.prepare(specification(texts), folder / "out", lambda line: None)
    corpus, card = load(folder / "out"), read_json(folder / "out" / "card.json")
    assert "cleaning" not in corpus.manifest
    assert card["documents"] == corpus.manifest["text"]["documents"] == 160
    assert card["bytes"] == card["tokens"] == sum((folder / n).stat().st_size for n in texts)
    assert cli.main(["card", "out"]) == 0
    shown = capsys.readouterr().out
    assert f"corpus {corpus.manifest['id']}" in shown and "tokens in a document" in shown
    assert f"{card['bytes']:,}" in shown
    assert cli.main(["card", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == card


def test_cleaning_is_counted_in_the_manifest_and_in_the_tokens(
    folder: Path, texts: list[str], specification: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in texts[:30]:
        text = (folder / name).read_text()
        (folder / name).write_bytes((text + "mail a@example.org\r\n").encode())
    (folder / "bench.jsonl").write_text(json.dumps({"text": (folder / texts[40]).read_text()}))
    spec = specification(texts, cleaning=section(), benchmarks={"paths": ("bench.jsonl",)})
    manifest = preparing.prepare(spec, folder / "out", lambda line: None)
    counts = manifest["cleaning"]
    assert list(counts) == ["line_ends", "benchmarks", "mask"]
    assert counts["line_ends"]["changed"]["documents"] == 30
    assert counts["line_ends"]["documents"] == 160
    assert counts["benchmarks"]["removed"]["documents"] == 1, "all of it is benchmark text"
    assert counts["benchmarks"]["share_of_texts_touched"] == 1
    assert counts["mask"]["found"] == {"email": 30}
    stream = b"".join(
        bytes((ids[ids != 0] - 1).astype(np.uint8)) for ids in load(folder / "out").tokens.values()
    )
    assert b"\r" not in stream and b"a@example.org" not in stream and b"[EMAIL]" in stream
    assert manifest["text"]["documents"] == 159
    assert read_json(folder / "out" / "card.json")["cleaning"] == counts
    assert cli.main(["card", "out"]) == 0
    assert "email 30" in capsys.readouterr().out


def test_counts_go_on_where_an_interrupted_preparation_was(
    folder: Path, texts: list[str], specification: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in texts:
        (folder / name).write_bytes((folder / name).read_bytes() + b"mail a@example.org\r\n")
    rows = [{"text": (folder / texts[i]).read_text()[:300]} for i in (3, 150)]
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = specification(texts, cleaning=section(), benchmarks={"paths": ("bench.jsonl",)})
    whole = preparing.prepare(spec, folder / "whole", lambda line: None)
    monkeypatch.setattr(preparing, "BLOCK_CHARACTERS", 20_000)
    plain, calls = preparing.collect, []

    def broken(*args: Any, **fields: Any) -> None:
        plain(*args, **fields)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "collect", broken)
    with pytest.raises(KeyboardInterrupt):
        preparing.prepare(spec, folder / "out", lambda line: None)
    monkeypatch.setattr(preparing, "collect", plain)
    lines: list[str] = []
    again = preparing.prepare(spec, folder / "out", lines.append)
    assert any("going on where" in line for line in lines)
    assert again["cleaning"] == whole["cleaning"]
    assert again["cleaning"]["benchmarks"]["texts_touched"] == 2
    assert again["cleaning"]["mask"]["found"] == {"email": 160}
    assert again["data_hash"] == whole["data_hash"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (None, "none: no such folder, expected that of a prepared corpus"),
        ({}, "a corpus that is not finished, or that an earlier version prepared, has no card"),
        ({"card.json": "{}"}, "card.json: expected a report card"),
        ({"card.json": "{"}, "card.json: expected a JSON file"),
    ],
)
def test_a_missing_or_foreign_card_is_one_sentence(
    folder: Path,
    write: dict[str, str] | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if write is not None:
        (folder / "none").mkdir()
        for name, text in write.items():
            (folder / "none" / name).write_text(text)
    assert cli.main(["card", "none"]) == 2
    sentence = capsys.readouterr().err
    assert message in sentence and sentence.count("\n") == 1
