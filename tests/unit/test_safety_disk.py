"""A disk that is full or closed: one sentence, nothing half-written, and it goes on with room."""

import dataclasses
import errno
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_disk import change, small_disk

from scalelab.cli import main
from scalelab.config import CorpusConfig
from scalelab.corpus.documents import Document
from scalelab.corpus.store import Store, errors_of_system
from scalelab.files import read_json
from scalelab.plan.data import fingerprint

STUDY = "study: s\nladder: {widths: [8]}\ntraining: {tokens: 1M}\n"


def corpus_words(folder: Path, out: Path) -> list[str]:
    """The verb `corpus` on 2 MB of text."""
    generator, names = random.Random(1), []
    for number in range(50):
        path = folder / f"{number:02}.txt"
        words = ("".join(generator.choices("etaoinshr", k=5)) for _ in range(7000))
        path.write_text(" ".join(words), encoding="utf-8")
        names.append(str(path))
    config = CorpusConfig(
        source="files", paths=tuple(names), tokenizer="bytes", test_tokens=2000, tuning_tokens=2000
    )
    spec = {
        "format": 1,
        "config": dataclasses.asdict(config),
        "seed": 7,
        "fingerprint": fingerprint(config),
    }
    return ["corpus", "--spec", json.dumps(spec), "--out", str(out)]


def test_a_corpus_on_a_full_disk_is_one_sentence_and_goes_on_with_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        words = corpus_words(tmp_path, disk / "corpus")
        assert main(words) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("scalelab corpus: ") and "the disk takes no more (No space" in told
        assert not (disk / "corpus" / "manifest.json").exists()
        change(disk, "size=40m")
        assert main(words) == 0
        found = read_json(disk / "corpus" / "manifest.json")["data_hash"]
    words[-1] = str(tmp_path / "elsewhere")
    assert main(words) == 0
    assert found == read_json(tmp_path / "elsewhere" / "manifest.json")["data_hash"]


def test_a_full_disk_in_the_words_of_sqlite_keeps_what_was_read(tmp_path: Path) -> None:
    with Store(tmp_path / "work", "one") as store:
        store.add(b"key", Document("name", "text"))
        store.commit(read=1)
        pages = store._index.execute("PRAGMA page_count").fetchone()[0]
        store._index.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="No space left") as caught, errors_of_system(tmp_path):
            for number in range(1000):
                store.add(number.to_bytes(16), Document("name" * 20, "text"))
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))
    with Store(tmp_path / "work", "one") as store:
        assert (len(store), store.state("read")) == (1, 1)
    with pytest.raises(sqlite3.OperationalError), errors_of_system(tmp_path):
        raise sqlite3.OperationalError("no such table")


@pytest.mark.parametrize("how", ["full", "closed"])
def test_a_verb_that_may_not_write_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    with small_disk(tmp_path / "disk", "8k") as disk:
        (disk / "there").write_bytes(b"0" * 8192 if how == "full" else b"")
        if how == "closed":
            change(disk, "ro")
        assert main(["plan", str(study), "--json", str(disk / "plan.json")]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        expected = {
            "full": "the disk takes no more (No space left on device)",
            "closed": "may not be read or written here (Read-only file system)",
        }
        assert told.startswith("scalelab plan: ") and expected[how] in told
        assert [path.name for path in disk.iterdir()] == ["there"]


def test_a_run_in_a_closed_folder_is_one_sentence(
    spec: Callable[..., dict[str, Any]],
    corpus_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        change(disk, "ro")
        words = ["--corpus", str(corpus_folder), "--out", str(disk / "run")]
        assert main(["train", "--spec", json.dumps(spec()), *words]) == 2
    told = capsys.readouterr().err
    assert "Read-only file system" in told and told.count("\n") == 1
