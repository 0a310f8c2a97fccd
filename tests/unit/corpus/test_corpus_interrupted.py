"""Faults while a corpus is made: nothing is lost, and nothing wrong comes of it."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from scalelab.config import CorpusConfig, PartConfig
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.formats import plain
from scalelab.corpus.formats.html import stripped
from scalelab.corpus.prepare import prepare
from scalelab.corpus.sources import get_source
from scalelab.corpus.store import Store
from scalelab.errors import TryAgain, UserError
from scalelab.plan import remote
from scalelab.plan.data import fingerprint, settings


class Failing(io.BytesIO):
    """A remote stream that breaks off."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 2_000_000:
            raise OSError("connection reset")
        return super().read(size)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_remote_file_that_breaks_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    data = (json.dumps({"text": "word " * 200}) + "\n").encode() * 4000

    class Files:
        def open(self, path: str, mode: str) -> Failing:
            return Failing(data)

    monkeypatch.setattr(remote, "filesystem", lambda name: (Files(), name))
    monkeypatch.setattr(remote, "version", lambda name: "v1")
    planned = {"files": [{"name": "s3://b/a.jsonl", "bytes": len(data), "version": "v1"}]}
    config = dataclasses.asdict(CorpusConfig(source="files", on_error=on_error))  # type: ignore
    with pytest.raises(TryAgain, match=r"s3://b/a\.jsonl: reading was interrupted: connection"):
        list(get_source("files")(config, planned, Tally(), print))


def test_a_part_of_a_mixture_says_its_source() -> None:
    part = PartConfig(name="code", weight=1)
    (given,) = settings(CorpusConfig(source="mixture", mixture=(part,)))["mixture"]
    assert given["source"] == "python"


def test_a_shortened_or_damaged_store_is_made_anew(tmp_path: Path) -> None:
    for number, harm in enumerate((b"", b"not a database" * 100)):
        folder = tmp_path / str(number)
        with Store(folder, "a") as store:
            store.add(b"k" * 16, Document("one", "first text"))
            store.commit()
        path = folder / ("documents.db" if harm else "documents.txt")
        path.write_bytes(harm)
        with Store(folder, "a") as store:
            assert len(store) == 0
            assert store.add(b"k" * 16, Document("one", "first text"))
            store.commit()
            assert [store.document(entry).text for entry in store.ordered()] == ["first text"]


def test_one_corpus_has_one_owner(
    folder: Path, texts: list[str], specification: Callable[..., Any]
) -> None:
    with (
        FileLock(folder / ".out.lock"),
        pytest.raises(UserError, match="out is being prepared by another process"),
    ):
        prepare(specification(texts), folder / "out", print)
    prepare(specification(texts), folder / "out", print)
    assert not (folder / ".out.lock").exists()


def read(path: str, **fields: Any) -> tuple[list[str], dict[str, int]]:
    config = CorpusConfig(source="files", paths=(path,), **fields)
    tally = Tally()
    found = get_source("files")(dataclasses.asdict(config), fingerprint(config), tally, print)
    return [document.text for document in found], dict(tally.documents)


@pytest.mark.parametrize("chunk", [1, 5, 64, 4096])
def test_a_part_that_is_too_long_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(plain, "MAX_DOCUMENT", 50)
    monkeypatch.setattr(plain, "CHUNK", chunk)
    (folder / "a.txt").write_text("one||" + "A" * 1000 + "||bb||" + "C" * 51 + "||d")
    texts, counts = read("a.txt", document_separator="||", on_error="skip")
    assert texts == ["one", "bb", "d"]
    assert counts["unreadable"] == 2


def test_short_texts_are_detected_too(folder: Path) -> None:
    (folder / "a.txt").write_bytes("Der Bäcker trägt schöne Schürzen, caf\xe9".encode("cp1252"))
    texts, _ = read("a.txt", encoding="detect")
    assert texts[0].startswith("Der Bäcker")


def test_fields_that_are_not_read_may_hold_anything(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"text": "a", "n": ' + "1" * 5000 + '}\n{"text": "b"}\n')
    texts, counts = read("a.jsonl", on_error="skip")
    assert texts == ["b"] and counts["unreadable"] == 1


def test_a_page_without_optional_tags_keeps_its_text() -> None:
    assert stripped("<html><head><title>T</title><p>Hello world</html>") == "Hello world"
    assert stripped("<title>T</title>Hello <object>world") == "Hello world"


def test_a_share_of_the_hashes_and_a_cap_exclude_each_other(folder: Path) -> None:
    (folder / "a.txt").write_text("text")
    config = CorpusConfig(source="files", paths=("a.txt",), heldout_share=0.1, max_bytes=100)
    with pytest.raises(UserError, match=r"corpus\.heldout_share: found with max_bytes"):
        fingerprint(config)
