"""Kinds of files and of packing, good and bad."""

import bz2
import dataclasses
import gzip
import io
import json
import lzma
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from scalelab.config import CorpusConfig, parse
from scalelab.corpus import formats
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.formats import columns, jsonl, plain, table
from scalelab.corpus.formats.html import stripped
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint

TEXTS = ["first\r\ntext", 'zweiter Täxt, "quoted"\nwith a line', "third"]


def read(
    *paths: str, lines: list[str] | None = None, **fields: Any
) -> tuple[list[Document], dict[str, int]]:
    config = CorpusConfig(source="files", paths=paths, **fields)
    tally = Tally()
    report = lines.append if lines is not None else print
    plain = dataclasses.asdict(config)
    found = list(get_source("files")(plain, fingerprint(config), tally, report))
    return found, dict(tally.documents)


def zstd(data: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def as_jsonl(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"id": 1, "text": text}).encode() + b"\n" for text in texts)


def as_csv(texts: list[str]) -> bytes:
    rows = ["id,text", *(f'1,"{text.replace(chr(34), chr(34) * 2)}"' for text in texts)]
    return "\r\n".join(rows).encode()


def as_tsv(texts: list[str]) -> bytes:
    rows = ["text\tid", *(f'"{text.replace(chr(34), chr(34) * 2)}"\t1' for text in texts)]
    return "\n".join(rows).encode()


def rows_of(texts: list[Any], kind: pyarrow.DataType | None = None) -> pyarrow.Table:
    return pyarrow.table({"id": list(range(len(texts))), "text": pyarrow.array(texts, kind)})


def as_parquet(texts: list[Any], kind: pyarrow.DataType | None = None) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(rows_of(texts, kind), sink, row_group_size=2)
    return sink.getvalue()


def as_arrow_file(texts: list[Any]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, rows_of(texts).schema) as writer:
        writer.write_table(rows_of(texts), max_chunksize=2)
    return bytes(sink.getvalue())


def as_arrow_stream(texts: list[Any]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, rows_of(texts).schema) as writer:
        writer.write_table(rows_of(texts))
    return bytes(sink.getvalue())


KINDS = {
    ("a.jsonl", as_jsonl),
    ("a.csv", as_csv),
    ("a.tsv", as_tsv),
    ("a.parquet", as_parquet),
    ("a.arrow", as_arrow_file),
    ("b.arrow", as_arrow_stream),
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize(("name", "write"), sorted(KINDS, key=str))
def test_every_kind_packed_in_every_way_gives_the_same_texts(
    folder: Path, name: str, write: Callable[[list[str]], bytes], packer: str
) -> None:
    """Case T21."""
    (folder / (name + packer)).write_bytes(PACKERS[packer](write(TEXTS)))
    documents, counts = read(name + packer)
    assert [document.text for document in documents] == TEXTS
    assert counts == {"read": 1}


@pytest.mark.parametrize("packer", PACKERS)
def test_texts_packed_in_every_way(folder: Path, packer: str) -> None:
    (folder / f"a.txt{packer}").write_bytes(PACKERS[packer](TEXTS[1].encode()))
    assert read(f"a.txt{packer}")[0] == [Document(f"a.txt{packer}", TEXTS[1])]


@pytest.mark.parametrize("packer", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_cut_file_is_named_and_may_be_left_out(folder: Path, name: str, packer: str) -> None:
    rows = [f"text {number} " * 50 for number in range(200)]
    data = PACKERS[packer](as_jsonl(rows) if name == "a.jsonl" else as_parquet(rows))
    (folder / (name + packer)).write_bytes(data[: len(data) // 2])
    (folder / "b.txt").write_text("fine")
    with pytest.raises(UserError, match=rf"^{name}{packer}: (broken|not a whole)"):
        read(name + packer)
    documents, counts = read("b.txt", name + packer, on_error="skip")
    assert counts["unreadable"] == 1
    assert "fine" in [document.text for document in documents]


@pytest.mark.parametrize("packer", [".gz", ".bz2", ".xz", ".zst"])
def test_a_plain_file_under_a_packed_name_is_said(folder: Path, packer: str) -> None:
    """Case T21."""
    (folder / f"train.jsonl{packer}").write_bytes(b'{"text": "a"}\n')
    with pytest.raises(UserError, match=rf"train\.jsonl\{packer}: not \w+ \(starts with 7b 22 74"):
        read(f"train.jsonl{packer}")


@pytest.mark.parametrize("text", ["BZh is how bzip2 begins", "BZh9 is closer, but no block"])
def test_a_text_that_begins_like_a_packed_file_is_a_text(folder: Path, text: str) -> None:
    (folder / "a.txt").write_text(text)
    assert read("a.txt")[0] == [Document("a.txt", text)]
    (folder / "b.txt").write_bytes(bz2.compress(b""))
    assert read("b.txt")[1] == {"read": 1, "empty": 1}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet", "a.arrow"])
def test_a_column_that_is_not_there_names_those_that_are(folder: Path, name: str) -> None:
    write = next(write for kind, write in KINDS if kind == name)
    (folder / name).write_bytes(write(TEXTS))
    with pytest.raises(UserError, match=rf"{name}: no column 'body'; the columns are '(id|text)'"):
        read(name, text_field="body")


def test_parquet_takes_null_binary_and_bad_unicode_for_what_they_are(folder: Path) -> None:
    bad = [b"fine", b"caf\xe9", None, b""]
    (folder / "a.parquet").write_bytes(as_parquet(bad, pyarrow.binary()))
    with pytest.raises(UserError, match=r"a\.parquet, row 2: invalid UTF-8 at byte 3 \(0xe9\)"):
        read("a.parquet")
    documents, counts = read("a.parquet", on_error="skip")
    assert documents == [Document("a.parquet, row 1", "fine")]
    assert counts == {"read": 1, "unreadable": 1, "null": 1, "empty": 1}
    with pytest.raises(UserError, match=r"a\.parquet: expected text in 'id', found int64"):
        read("a.parquet", text_field="id")


def test_csv_says_what_is_wrong_with_a_row(folder: Path) -> None:
    (folder / "a.csv").write_bytes(
        b'id,text\n1,fine\n2,"two\nlines"\n3,four,5\n4,caf\xe9\n5,last\n'
    )
    with pytest.raises(UserError, match=r"a\.csv:5: 3 fields, expected 2"):
        read("a.csv")
    lines: list[str] = []
    documents, counts = read("a.csv", on_error="skip", lines=lines)
    assert [document.text for document in documents] == ["fine", "two\nlines", "last"]
    assert counts == {"read": 1, "unreadable": 2}
    assert lines[1].startswith("corpus: left out: a.csv:6: invalid UTF-8 in 'text'")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit for documents that a test can pass: 1,000 bytes."""
    for module in (formats, columns, jsonl, plain, table):
        monkeypatch.setattr(module, "MAX_DOCUMENT", 1000)
    return 1000


def test_a_long_line_of_csv_is_one_row_that_is_left_out(folder: Path, short: int) -> None:
    long = "x" * 5 * short
    (folder / "a.csv").write_bytes(f'id,text\n1,fine\n2,{long}\n3,"ne\nxt"\n4,5,6\n'.encode())
    with pytest.raises(UserError, match=r"^a\.csv:3: expected a row of CSV, but a line of more"):
        read("a.csv")
    lines: list[str] = []
    documents, counts = read("a.csv", on_error="skip", lines=lines)
    assert [document.text for document in documents] == ["fine", "ne\nxt"]
    assert counts == {"read": 1, "unreadable": 2}
    assert lines[-1].startswith("corpus: left out: a.csv:6: 3 fields, expected 2")
    (folder / "b.csv").write_bytes(long.encode())
    with pytest.raises(UserError, match=r"^b\.csv:1: expected a line with the names of columns"):
        read("b.csv")


def test_a_line_of_csv_without_an_end_is_not_held(folder: Path, short: int) -> None:
    with open(folder / "a.csv", "wb") as out:
        out.write(b"text\n")
        for _ in range(64):
            out.write(b"x" * 1_000_000)
    with open(folder / "a.csv", "rb") as stream:
        tracemalloc.start()
        (row,) = formats.kinds()[".csv"].read("a.csv", stream, {"text_field": "text"})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert row.wrong is not None and row.wrong.startswith("a.csv:2: expected a row of CSV")
    assert most < 2_000_000


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_long_row_of_a_column_is_left_out(folder: Path, name: str, short: int) -> None:
    texts = ["fine", "x" * (short + 1), "next"]
    (folder / name).write_bytes((as_parquet if name == "a.parquet" else as_arrow_file)(texts))
    with pytest.raises(UserError, match=rf"^{name}, row 2: a document of more than"):
        read(name)
    documents, counts = read(name, on_error="skip")
    assert [document.text for document in documents] == ["fine", "next"]
    assert counts == {"read": 1, "unreadable": 1}


def test_batches_of_parquet_hold_fewer_rows_where_rows_are_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 10_000)
    texts = [f"{number:04}" + chr(97 + number % 26) * 996 for number in range(100)]
    parquet.write_table(
        pyarrow.table({"text": texts, "id": range(100)}), folder / "a.parquet", use_dictionary=False
    )
    metadata = parquet.ParquetFile(folder / "a.parquet").metadata
    assert 5 <= columns._batch_rows(metadata) <= 10
    assert [document.text for document in read("a.parquet")[0]] == texts


def test_one_bad_line_stops_or_is_counted(folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(
        b'{"text": "a"}\n{"text": \n{"text": "c"}\n{"text": "d\xff"}\n'
    )
    with pytest.raises(UserError, match=r"^a\.jsonl:2: expected a JSON object, but"):
        read("a.jsonl")
    documents, counts = read("a.jsonl", on_error="skip")
    assert [document.text for document in documents] == ["a", "c"]
    assert counts == {"read": 1, "unreadable": 2}


@pytest.mark.parametrize(("name", "place"), [("a.txt", "a.txt"), ("a.jsonl", "a.jsonl:1")])
def test_a_nul_is_no_text(folder: Path, name: str, place: str) -> None:
    data = b"ab\0c" if name == "a.txt" else b'{"text": "ab\\u0000c"}'
    (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"^{place}: a NUL at character 2, expected text"):
        read(name)
    assert read(name, on_error="skip")[1]["unreadable"] == 1


def test_a_line_or_file_without_end_is_refused_in_bounded_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single line of two gigabytes, in small."""
    for module in (formats.plain, formats.jsonl, formats.html):  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "MAX_DOCUMENT", 1000)
    (folder / "a.txt").write_bytes(b"x" * 5000)
    long = json.dumps({"text": "x" * 5000}).encode()
    (folder / "a.jsonl").write_bytes(b'{"text": "a"}\n' + long + b'\n{"text": "b"}\n')
    with pytest.raises(UserError, match=r"a\.txt: a document of more than .*document_separator"):
        read("a.txt")
    with pytest.raises(UserError, match=r"a\.jsonl:2: a line of more than"):
        read("a.jsonl")
    documents, counts = read("a.jsonl", on_error="skip")
    assert [document.name for document in documents] == ["a.jsonl:1", "a.jsonl:3"]
    assert counts["unreadable"] == 1


def test_a_separator_makes_documents_of_one_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.txt").write_bytes("one<|end|>zwei ä<|end|><|end|>three".encode())
    for chunk in (1, 3, 7, 1 << 20):
        monkeypatch.setattr(formats.plain, "CHUNK", chunk)  # type: ignore[attr-defined]
        documents, counts = read("a.txt", document_separator="<|end|>")
        assert [document.text for document in documents] == ["one", "zwei ä", "three"]
        assert [document.name for document in documents] == ["a.txt#1", "a.txt#2", "a.txt#4"]
        assert counts == {"read": 1, "empty": 1}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
def test_encodings(folder: Path, encoding: str) -> None:
    text = "Füße – “quoted”"
    (folder / "a.txt").write_bytes(text.encode(encoding))
    (folder / "a.jsonl").write_bytes(
        json.dumps({"text": text}, ensure_ascii=False).encode(encoding)
    )
    documents, _ = read("a.txt", "a.jsonl", encoding=encoding)
    assert [document.text for document in documents] == [text, text]


def test_an_encoding_is_guessed_where_it_is_asked_for(folder: Path) -> None:
    text = "Der Bäcker übt täglich für die große Prüfung und trägt schöne Schürzen. " * 20
    (folder / "a.txt").write_bytes(text.encode("cp1252"))
    (folder / "b.txt").write_bytes(text.encode())
    documents, counts = read("a.txt", "b.txt", encoding="detect")
    assert [document.text for document in documents] == [text, text]
    assert counts == {"read": 2, "read as cp1250": 1}, "which has these letters in the same places"
    with pytest.raises(UserError, match="expected an encoding such as"):
        parse({"study": "a", "corpus": {"encoding": "utf-9"}, "training": {"tokens": 10}})
    (folder / "c.txt").write_bytes(b"\x81\x8d")
    with pytest.raises(UserError, match=r"c\.txt: byte 0x81 is not cp1252"):
        read("c.txt", encoding="cp1252")


def test_html_is_stripped() -> None:
    page = """<!DOCTYPE html><html><head><title>no</title><style>p {x: 1}</style></head><body>
    <h1>A &amp; B</h1><p>One  <b>bold</b>\n word.<br>Next<script>var x = "</p>";</script></p>
    <pre>def f():\n    return 1\n\n</pre><ul><li>a<li>b</ul></body></html>"""
    assert stripped(page) == ("A & B\nOne bold word.\nNext\ndef f():\n    return 1\n\n\na\nb")


def test_html_files_are_documents(folder: Path) -> None:
    (folder / "a.html.gz").write_bytes(gzip.compress(b"<p>caf\xc3\xa9</p>"))
    assert read("a.html.gz")[0] == [Document("a.html.gz", "café")]


# --- Message catalogues ---------------------------------------------------------------------------


def as_mo(messages: dict[str, str], charset: str = "utf-8") -> bytes:
    """A catalogue as the manual of gettext lays it out: two tables of lengths and offsets."""
    entries = sorted({"": f"Content-Type: text/plain; charset={charset}\n", **messages}.items())
    pairs = [(key.encode(charset), value.encode(charset)) for key, value in entries]
    start = 28 + 16 * len(pairs)
    tables: list[bytes] = []
    texts = b""
    for side in (0, 1):
        for pair in pairs:
            tables.append(struct.pack("<II", len(pair[side]), start + len(texts)))
            texts += pair[side] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + b"".join(tables) + texts


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_translations_of_a_catalogue_are_text(tmp_path: Path, charset: str) -> None:
    messages = {
        "open": "öffnen",
        "%d file\0%d files": "%d Datei\0%d Dateien",
        "menu\4close": "schließen",
        "untranslated": "",
    }
    (tmp_path / "de.mo").write_bytes(as_mo(messages, charset))
    (tmp_path / "de.mo.gz").write_bytes(gzip.compress(as_mo(messages, charset)))
    for name in ("de.mo", "de.mo.gz"):
        found, _ = read(str(tmp_path / name))
        assert [one.text for one in found] == ["%d Datei\n%d Dateien\nschließen\nöffnen\n"]


def test_messages_that_stand_together_are_one_document(tmp_path: Path) -> None:
    messages = {f"{number:03}": f"{number:03} " + "wort " * 100 for number in range(20)}
    (tmp_path / "de.mo").write_bytes(as_mo(messages))
    found, _ = read(str(tmp_path / "de.mo"))
    assert [len(one.text.split("\n")) - 1 for one in found] == [8, 8, 4]
    assert "".join(one.text for one in found).split() == " ".join(messages.values()).split()


@pytest.mark.parametrize("damage", ["cut", "other", "charset"])
def test_a_damaged_catalogue_is_named(tmp_path: Path, damage: str) -> None:
    whole = as_mo({"open": "öffnen", "close": "schließen"})
    content = {
        "cut": whole[:-9],
        "other": b"PK" + whole[2:],
        "charset": whole.replace(b"charset=utf-8", b"charset=utf-9"),
    }[damage]
    (tmp_path / "de.mo").write_bytes(content)
    with pytest.raises(UserError, match=r"de\.mo: not a whole message catalogue: "):
        read(str(tmp_path / "de.mo"))
    found, tally = read(str(tmp_path / "de.mo"), on_error="skip")
    assert (found, tally["unreadable"]) == ([], 1)
