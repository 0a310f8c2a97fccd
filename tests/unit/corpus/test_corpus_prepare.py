import hashlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import scalelab
from scalelab.corpus import Corpus, load
from scalelab.corpus.prepare import prepare
from scalelab.corpus.tokenizers import bpe
from scalelab.errors import UserError

Make = Callable[..., Any]


def run(spec: dict[str, Any], out: Path) -> Corpus:
    prepare(spec, out, lambda line: None)
    return load(out)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }


def byte_text(ids: np.ndarray) -> bytes:
    """Text of ids of the bytes tokenizer, separators left out."""
    return bytes((ids[ids != 0] - 1).astype(np.uint8))


def windows(ids: np.ndarray, width: int) -> set[bytes]:
    """All windows of a stream that hold no separator."""
    size = ids.dtype.itemsize
    parts = (row[row != 0].tobytes() for row in np.split(ids, np.flatnonzero(ids == 0)))
    span = width * size
    return {p[i : i + span] for p in parts for i in range(0, len(p) - span + 1, size)}


def test_splits_have_their_sizes_and_account_for_every_byte(
    folder: Path, texts: list[str], specification: Make
) -> None:
    """Cases T14 (a limit in tokens is exact), T17 (separators) and T23 (documents once)."""
    corpus = run(specification(texts), folder / "out")
    assert len(corpus.tokens["test"]) == 4000
    assert len(corpus.tokens["tuning"]) == 2000
    assert corpus.vocab_size == 257 and corpus.dtype == np.uint16
    whole = {(folder / name).read_bytes() for name in texts}
    train = corpus.tokens["train"]
    assert train[0] == train[-1] == corpus.separator == 0
    trained = [byte_text(row) for row in np.split(train, np.flatnonzero(train == 0))]
    assert trained.count(b"") == 2, "one separator between documents"
    assert {*trained} - {b""} < whole
    assert (
        len({*trained}) == len(trained) - 1 == corpus.manifest["splits"]["train"]["documents"] + 1
    )
    for split in ("train", "tuning", "test"):
        ids = corpus.tokens[split]
        assert corpus.bytes(split) == len(byte_text(ids)) == int((ids != 0).sum())
        assert ids[0] == 0
    for split in ("tuning", "test"):
        ids, pieces = corpus.tokens[split], corpus.pieces[split]
        inside = np.zeros(len(ids), dtype=bool)
        for start, end, _, size in pieces:
            inside[start:end] = True
            assert size == end - start
            assert any(byte_text(ids[start:end]) in text for text in whole)
        assert np.array_equal(inside, ids != 0)
        documents = json.loads((folder / f"out/{split}.docs.json").read_text())["documents"]
        assert sorted(set(pieces[:, 2])) == list(range(len(documents)))
        for _, end, number, _ in pieces:
            data = (folder / documents[number]["name"]).read_bytes()
            assert documents[number]["sha256"] == hashlib.sha256(data).hexdigest()
            assert byte_text(ids[:end])[-64:] in data


def test_no_document_fills_a_held_out_split(
    folder: Path, texts: list[str], specification: Make
) -> None:
    corpus = run(specification(texts, test_tokens=13_000), folder / "out")
    pieces = corpus.pieces["test"]
    sizes = np.bincount(pieces[:, 2], weights=pieces[:, 1] - pieces[:, 0])
    assert sizes.max() == 13_000 // 50
    assert corpus.manifest["overlap"]["tokens_over_document_cap"] > 0
    assert corpus.manifest["overlap"]["largest_share_of_a_document"] == 1 / 50


def test_few_documents_may_fill_more_of_a_split(
    folder: Path, specification: Make, prose: Make
) -> None:
    for i in range(16):
        (folder / f"{i}.txt").write_text(prose(i, words=1000))
    corpus = run(specification(["*.txt"]), folder / "out")
    assert corpus.manifest["overlap"]["largest_share_of_a_document"] == 1 / 4
    assert (corpus.pieces["test"][:, 1] - corpus.pieces["test"][:, 0]).max() == 1000


def test_duplicates_do_not_leak_into_training(
    folder: Path, texts: list[str], specification: Make
) -> None:
    """Case T15: each document ten times, half of the copies changed a little."""
    for name in texts:
        text = (folder / name).read_text()
        for copy in range(9):
            near = f"{text} {copy}" if copy % 2 else text
            (folder / name).with_suffix(f".{copy}.txt").write_text(near)
    corpus = run(specification(["text/*.txt"]), folder / "out")
    removed = corpus.manifest["removed"]
    assert removed["exact duplicate"]["documents"] == 5 * 160
    assert removed["near duplicate"]["documents"] == 4 * 160
    for split in ("test", "tuning"):
        shared = windows(corpus.tokens[split], 32) & windows(corpus.tokens["train"], 32)
        assert not shared


@pytest.mark.parametrize("width", [16, 32])
def test_text_seen_in_training_is_cut_out(
    folder: Path, texts: list[str], specification: Make, prose: Make, width: int
) -> None:
    licence = prose(999, words=40)
    for name in texts:
        with open(name, "r+", encoding="utf-8") as file:
            text = file.read()
            file.seek(0)
            file.write(text[:100] + licence + text[100:])
    corpus = run(specification(texts, overlap_tokens=width, test_tokens=5000), folder / "out")
    overlap = corpus.manifest["overlap"]
    assert overlap["window_tokens"] == width
    assert overlap["heldout_share_removed"] == pytest.approx(0.25, abs=0.05)
    for split in ("test", "tuning"):
        assert licence[width:-width].encode() not in byte_text(corpus.tokens[split])
        other = "tuning" if split == "test" else "test"
        for elsewhere in ("train", other):
            stands = windows(corpus.tokens[split], width) & windows(corpus.tokens[elsewhere], width)
            assert not stands
        assert overlap[f"{split}_windows_in_training"] == 0
        lengths = corpus.pieces[split][:, 1] - corpus.pieces[split][:, 0]
        assert (lengths[:-1] >= 64).all()
    kept = run(specification(texts, overlap_tokens=0), folder / "kept")
    assert licence.encode() in byte_text(kept.tokens["train"])
    assert kept.manifest["overlap"]["heldout_tokens_removed"] == 0
    assert kept.manifest["overlap"]["test_windows_in_training"] > 0


def test_same_result_in_another_process(
    folder: Path, texts: list[str], specification: Make
) -> None:
    """Cases T18 and H03: that process has a locale of ASCII alone, and a cache where no folder
    can be."""
    (folder / "text/other.txt").write_text("naïve Σ, 漢字\n" * 40, encoding="utf-8")
    spec = specification(["text/*.txt"], tokenizer="bpe", vocab_size=400)
    corpus = run(spec, folder / "one")
    code = (
        "import json, sys; from pathlib import Path; from scalelab.corpus.prepare import prepare; "
        "prepare(json.loads(sys.argv[1]), Path('two'), lambda line: None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(spec)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(scalelab.__file__).parents[1]),
            "HF_HOME": str(folder / "text/other.txt/home"),
            # Without the last two, Python would help itself out with UTF-8.
            **{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert digests(folder / "one") == digests(folder / "two")
    again = load(folder / "two").manifest
    assert again == corpus.manifest
    assert again["data_hash"] and len(again["id"]) == 12


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_a_corpus_of_files_needs_no_network(
    folder: Path,
    texts: list[str],
    specification: Make,
    tokenizer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Case H01."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection is opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    size = {"vocab_size": 300} if tokenizer == "bpe" else {}
    corpus = run(specification(texts, tokenizer=tokenizer, **size), folder / "out")
    assert len(corpus.tokens["test"]) == 4000


def test_order_and_names_of_files_do_not_matter(
    folder: Path, texts: list[str], specification: Make
) -> None:
    before = run(specification(texts), folder / "one")
    for i, name in enumerate(texts):
        (folder / name).rename(folder / f"text/{999 - i}.md")
    after = run(specification(["text/*.md"]), folder / "two")
    assert before.manifest["data_hash"] == after.manifest["data_hash"]
    assert before.manifest["id"] != after.manifest["id"]


def test_a_new_document_leaves_the_others_where_they_are(
    folder: Path, texts: list[str], specification: Make, prose: Make
) -> None:
    def held_out(corpus: Path) -> list[str]:
        rows = json.loads((corpus / "test.docs.json").read_text())["documents"]
        return [row["name"] for row in rows]

    run(specification(texts), folder / "one")
    (folder / "text/new.txt").write_text(prose(500))
    run(specification(["text/*.txt"]), folder / "two")
    before, after = held_out(folder / "one"), held_out(folder / "two")
    stayed = [name for name in after if name != "text/new.txt"]
    assert stayed == before[: len(stayed)]
    assert len(stayed) >= len(before) - 1
    run(specification(texts, seed=8), folder / "three")
    assert held_out(folder / "three") != before


def test_cap_on_bytes_leaves_the_held_out_documents(
    folder: Path, texts: list[str], specification: Make
) -> None:
    whole = run(specification(texts, overlap_tokens=0), folder / "one")
    capped = run(specification(texts, overlap_tokens=0, max_bytes=70_000), folder / "two")
    assert np.array_equal(whole.tokens["test"], capped.tokens["test"])
    assert len(capped.tokens["train"]) < len(whole.tokens["train"])
    assert capped.manifest["text"]["bytes"] <= 70_000


def test_tokenizer_learns_from_training_text_alone(
    folder: Path, texts: list[str], specification: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[str] = []
    train_bpe = bpe.train_bpe

    def spy(sample: Iterable[str], size: int) -> Tokenizer:
        sampled.extend(sample)
        return train_bpe(sampled, size)

    monkeypatch.setattr(bpe, "train_bpe", spy)
    spec = specification(texts, tokenizer="bpe", vocab_size=400, test_tokens=8000)
    corpus = run(spec, folder / "out")
    assert corpus.vocab_size == 400
    opened = Tokenizer.from_file(str(folder / "out/tokenizer.json"))

    def text(ids: np.ndarray) -> str:
        return opened.decode(ids.tolist(), skip_special_tokens=False)

    train = corpus.tokens["train"]
    edges = np.flatnonzero(train == 0)
    trained = {text(train[a + 1 : b]) for a, b in itertools.pairwise(edges)}
    assert len(sampled) > 60 and set(sampled) < trained
    for split in ("test", "tuning"):
        rows = json.loads((folder / f"out/{split}.docs.json").read_text())["documents"]
        for start, end, number, _ in corpus.pieces[split]:
            piece = text(corpus.tokens[split][start:end])
            assert piece in (folder / rows[number]["name"]).read_text()
            assert not any(piece in other for other in trained)


def test_bytes_are_exact_when_a_piece_cuts_a_character(
    folder: Path, texts: list[str], specification: Make
) -> None:
    for name in texts:
        path = folder / name
        path.write_text(path.read_text().replace("e", "é").replace("o", "日"), encoding="utf-8")
    corpus = run(specification(texts, test_tokens=4001), folder / "out")
    for split in ("test", "tuning"):
        assert corpus.bytes(split) == len(byte_text(corpus.tokens[split]))
        assert corpus.pieces[split][:, 3].sum() == corpus.bytes(split)


def test_finished_work_is_not_repeated(folder: Path, texts: list[str], specification: Make) -> None:
    spec, lines = specification(texts), []
    first = prepare(spec, folder / "out", lines.append)
    written = {path.name: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}
    assert any("160 files" in line for line in lines)
    lines.clear()
    # As it comes back from JSON, with lists for tuples.
    assert prepare(json.loads(json.dumps(spec)), folder / "out", lines.append) == first
    assert lines == ["corpus: out is complete, nothing to do"]
    assert written == {path.name: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest", "broken manifest"])
def test_damage_is_repaired(
    folder: Path, texts: list[str], specification: Make, damage: str
) -> None:
    spec = specification(texts)
    prepare(spec, folder / "out", lambda line: None)
    before = digests(folder / "out")
    if damage == "changed":
        with open("out/train.bin", "r+b") as file:
            file.write(b"\x05")
    elif damage == "missing":
        Path("out/test.bin").unlink()
    elif damage == "no manifest":
        Path("out/manifest.json").unlink()
    else:
        Path("out/manifest.json").write_text('{"spec": ')
    prepare(spec, folder / "out", lambda line: None)
    assert digests(folder / "out") == before
    load(folder / "out")


def test_another_specification_replaces_the_folder(
    folder: Path, texts: list[str], specification: Make
) -> None:
    """Case T22, where somebody gives both the same folder."""
    run(specification(texts), folder / "out")
    corpus = run(specification(texts, tokenizer="bpe", vocab_size=300), folder / "out")
    assert corpus.vocab_size == 300
    assert corpus.manifest["spec"]["config"]["vocab_size"] == 300


def test_too_small_is_an_error_with_counts(
    folder: Path, texts: list[str], specification: Make
) -> None:
    with pytest.raises(UserError, match=r"too small: 82,000 held-out tokens .* 160 documents"):
        run(specification(texts, test_tokens=80_000), folder / "out")
    with pytest.raises(UserError, match=r"no text is left: 160 files read"):
        run(specification(texts, min_document_bytes=10**6), folder / "out")
    with pytest.raises(UserError, match="too small"):
        run(specification(texts[:1]), folder / "out")
    assert not (folder / "out").exists()


def test_odd_line_ends_survive_the_whole_way(
    folder: Path, texts: list[str], specification: Make
) -> None:
    """Cases T16 and T17."""
    odd = bytes.fromhex("61 E280A8 62 0D0A 63 0C 64 0D 65 0A0A0A 20 66 20 0A EFBBBF 67")
    (folder / "text/odd.txt").write_bytes(odd)
    spec = specification(["text/*.txt"], min_document_bytes=0)
    for seed in range(20):  # a seed that puts the document into training
        corpus = run({**spec, "seed": seed}, folder / "out")
        train = corpus.tokens["train"]
        parts = [byte_text(row) for row in np.split(train, np.flatnonzero(train == 0))]
        if odd in parts:
            return
    pytest.fail("the document never reached training whole")


def test_load_names_what_is_wrong(folder: Path, texts: list[str], specification: Make) -> None:
    run(specification(texts), folder / "out")
    with open("out/tuning.bin", "ab") as file:
        file.write(b"\x01\x00")
    with pytest.raises(UserError, match=r"tuning\.bin: 2,001 tokens, expected 2,000"):
        load(folder / "out")
    with pytest.raises(UserError, match=r"none/manifest\.json: no such file"):
        load(folder / "none")
