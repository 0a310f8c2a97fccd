"""Mixtures of sources, and preparation that goes on after an interruption."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import CorpusConfig, PartConfig
from scalelab.corpus import prepare as preparation
from scalelab.corpus.card import text_card
from scalelab.corpus.documents import Document
from scalelab.corpus.prepare import prepare
from scalelab.corpus.sources import files
from scalelab.errors import TryAgain, UserError
from scalelab.files import read_json
from scalelab.plan.data import fingerprint, settings

Prose = Callable[..., str]


def part(name: str, weight: float, **fields: Any) -> PartConfig:
    given = {"source": "files", "paths": (f"{name}.jsonl",), **fields}
    return PartConfig(name=name, weight=weight, **given)


def specification(*parts: PartConfig, **fields: Any) -> dict[str, Any]:
    defaults = {"tokenizer": "bytes", "test_tokens": 2000, "tuning_tokens": 1000}
    config = CorpusConfig(source="mixture", mixture=parts, **{**defaults, **fields})
    return {"format": 1, "config": settings(config), "seed": 1, "fingerprint": fingerprint(config)}


@pytest.fixture
def parts(folder: Path, prose: Prose) -> None:
    for offset, name in ((0, "a"), (1000, "b")):
        rows = [json.dumps({"text": prose(offset + n, words=120)}) for n in range(120)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))


@pytest.mark.parametrize("max_bytes", [40_000, None])
def test_weights_are_shares_of_the_bytes(
    folder: Path, parts: None, max_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specification(part("a", 3), part("b", 1), max_bytes=max_bytes)
    kept = {"a": 0, "b": 0}
    real = preparation.write

    def spy(spec: Any, out: Any, read: Any, cleaned: Any, *rest: Any) -> Any:
        for document in cleaned.documents:
            kept[document.name[0]] += len(document.text.encode())
        return real(spec, out, read, cleaned, *rest)

    monkeypatch.setattr(preparation, "write", spy)
    manifest = prepare(spec, folder / "out", print)
    told = manifest["text"]["parts"]
    assert {name: part["bytes"] for name, part in told.items()} == kept
    assert sum(part["documents"] for part in told.values()) == manifest["text"]["documents"]
    card = read_json(folder / "out/card.json")
    assert f"{kept['a'] / sum(kept.values()):.1%} of bytes" in text_card(card)
    assert kept["a"] / sum(kept.values()) == pytest.approx(0.75, abs=0.03)
    if max_bytes is None:  # all of the part that is scarce
        rows = (folder / "a.jsonl").read_text().splitlines()
        assert kept["a"] == sum(len(json.loads(row)["text"].encode()) for row in rows)
    else:
        assert max_bytes * 0.95 < sum(kept.values()) <= max_bytes


def test_a_scarce_part_bounds_the_whole(folder: Path, parts: None) -> None:
    rows = (folder / "b.jsonl").read_text().splitlines()[:30]
    (folder / "b.jsonl").write_text("\n".join(rows))
    lines: list[str] = []
    spec = specification(part("a", 1), part("b", 1), max_bytes=100_000)
    manifest = prepare(spec, folder / "out", lines.append)
    assert any("part 2 of the mixture has 0.0 MB, its share of 50.0%" in line for line in lines)
    assert 55 <= manifest["text"]["documents"] <= 60
    assert manifest["removed"]["over the share of its part"]["documents"] > 0


def test_a_text_of_two_parts_is_counted_once(folder: Path, parts: None) -> None:
    (folder / "b.jsonl").write_text((folder / "a.jsonl").read_text())
    spec = specification(part("a", 1), part("b", 1))
    with pytest.raises(UserError, match="no text is left of part 2"):
        prepare(spec, folder / "out", print)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "files", "paths": ("a.jsonl",)}, "found 1 parts and the source 'files'"),
        ({"mixture": ()}, "found 0 parts and the source 'mixture'"),
        ({"mixture": ("synthetic",)}, "one: found the source 'synthetic', expected one that"),
        ({"mixture": ("twice", "twice")}, r"corpus\.mixture: found two parts named 'one'"),
        ({"mixture": ("missing",)}, r"corpus\.mixture: one\.paths: 'one\.jsonl': no such file"),
    ],
)
def test_what_cannot_be_mixed_is_said(
    folder: Path, parts: None, fields: dict[str, Any], message: str
) -> None:
    missing = part("one", 1)
    kinds = {"synthetic": part("one", 1, source="synthetic"), "missing": missing, "twice": missing}
    given = {"source": "mixture", "mixture": (part("a", 1),), **fields}
    given["mixture"] = tuple(kinds.get(one, one) for one in given["mixture"])
    with pytest.raises(UserError, match=message):
        fingerprint(CorpusConfig(**given))


def test_names_of_parts_are_given_keys_only(folder: Path, parts: None) -> None:
    config = CorpusConfig(source="mixture", mixture=(part("a", 1), part("b", 2)))
    assert settings(config)["mixture"][0] == {
        **{"name": "a", "weight": 1.0, "source": "files", "paths": ("a.jsonl",)}
    }
    assert "hub" in dataclasses.asdict(config)["mixture"][0]


class Counted:
    """The source `files`, which fails once after some documents."""

    def __init__(self, limit: int) -> None:
        self.limit, self.given = limit, 0
        self.names: list[str] = []

    def __call__(self, *arguments: Any) -> Iterator[Document]:
        for document in files.local_files(*arguments):
            if self.given == self.limit:
                self.limit = -1
                raise TryAgain("s3://bucket/part: reading was interrupted")
            self.given += 1
            self.names.append(document.name)
            yield document


@pytest.mark.parametrize("limit", [50, 119, 120, 121, 200])
def test_an_interrupted_preparation_goes_on_and_gives_the_same(
    folder: Path, parts: None, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    (folder / "a.jsonl").write_text('{"text": null}\n' + (folder / "a.jsonl").read_text())
    (folder / "c.jsonl").write_text(json.dumps({"text": "word " * 60}))
    spec = specification(
        part("a", 2, paths=("a.jsonl", "b.jsonl")), part("c", 1e-6, paths=("c.jsonl",))
    )
    expected = prepare(spec, folder / "whole", lambda line: None)
    monkeypatch.setattr(preparation, "BLOCK_CHARACTERS", 10_000)
    counted = Counted(limit)
    monkeypatch.setattr("scalelab.corpus.sources.mixture.get_source", lambda name: counted)
    with pytest.raises(TryAgain):
        prepare(spec, folder / "out", lambda line: None)
    assert not (folder / "out").exists()
    assert (folder / ".out.work").is_dir()
    lines: list[str] = []
    found = prepare(spec, folder / "out", lines.append)
    assert "corpus: going on where reading was interrupted" in lines
    assert found["data_hash"] == expected["data_hash"]
    assert (found["read"], found["removed"]) == (expected["read"], expected["removed"])
    assert not (folder / ".out.work").exists()
    # What was committed is not read again: of the first file nothing, once the second was begun.
    again = counted.names[limit:]
    if limit > 140:
        assert not any(name.startswith("a.jsonl") for name in again)


def test_bad_input_leaves_nothing_behind(folder: Path, parts: None) -> None:
    (folder / "b.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"b\.jsonl:1"):
        prepare(specification(part("a", 1), part("b", 1)), folder / "out", print)
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "b.jsonl"]
