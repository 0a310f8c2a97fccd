import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import CorpusConfig
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import get_source, sources
from scalelab.corpus.sources import python as python_source
from scalelab.corpus.sources.docstrings import extract
from scalelab.corpus.sources.filters import path_reason, text_reason
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint

# Line separator, CR LF, form feed, lone CR, blank lines, spaces at both ends, an inner BOM.
ODD = bytes.fromhex("61 E280A8 62 0D0A 63 0C 64 0D 65 0A0A0A 20 66 20 0A EFBBBF 67")


def read(*paths: str, **fields: Any) -> tuple[list[Document], dict[str, int]]:
    config = CorpusConfig(source="files", paths=paths, **fields)
    tally = Tally()
    found = get_source("files")(dataclasses.asdict(config), fingerprint(config), tally, print)
    return list(found), dict(tally.documents)


def test_registry() -> None:
    assert set(sources()) >= {"python", "docstrings", "files"}
    with pytest.raises(UserError, match="'books' is unknown, expected one of docstrings, files"):
        get_source("books")


def test_bytes_are_kept_exactly(folder: Path) -> None:
    """Cases T16 and T17."""
    (folder / "odd.txt").write_bytes(ODD)
    documents, _ = read("odd.txt")
    assert [d.text.encode() for d in documents] == [ODD]


def test_leading_byte_order_mark_goes_once(folder: Path) -> None:
    """Case T18."""
    (folder / "a.txt").write_bytes(bytes.fromhex("EFBBBF 610A"))
    (folder / "b.txt").write_bytes(bytes.fromhex("EFBBBF EFBBBF 620A"))
    documents, _ = read("a.txt", "b.txt")
    assert [d.text for d in documents] == ["a\n", "\ufeffb\n"]


@pytest.mark.parametrize(("start", "place"), [(b"", 3), (b"\xef\xbb\xbf", 6)])
def test_invalid_utf8_is_named_with_its_place(folder: Path, start: bytes, place: int) -> None:
    """Case T18."""
    (folder / "latin.txt").write_bytes(start + bytes.fromhex("636166E90A"))
    with pytest.raises(UserError, match=rf"latin\.txt: invalid UTF-8 at byte {place} \(0xe9\)"):
        read("latin.txt")


def test_skipped_documents_are_counted_by_reason(folder: Path) -> None:
    """Case T19."""
    lines = ['{"text":""}', '{"text":null}', '{"text":"  \\n"}', '{"text":"ok\\u2028"}', ""]
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "blank.txt").write_text("\n\n")
    documents, counts = read("a.jsonl", "blank.txt")
    assert documents == [Document("a.jsonl:4", "ok\u2028")]
    assert counts == {"read": 2, "empty": 1, "null": 1, "blank": 2}


def test_line_separators_inside_json_do_not_end_a_line(folder: Path) -> None:
    """Case T16."""
    rows = [{"body": "one\u2028two\x0bthree\x85"}, {"body": "four"}]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "a.jsonl").write_text(text, encoding="utf-8", newline="")
    documents, _ = read("a.jsonl", text_field="body")
    assert [d.text for d in documents] == [row["body"] for row in rows]


def test_only_the_field_of_the_text_is_read(folder: Path) -> None:
    """Case T20: the other fields may change their type from line to line."""
    (folder / "a.jsonl").write_text(
        '{"text": "a", "m": null}\n{"text": "b", "m": "x"}\n{"m": [1], "text": "c"}\n'
    )
    documents, counts = read("a.jsonl")
    assert [d.text for d in documents] == ["a", "b", "c"]
    assert counts == {"read": 1}


def test_every_document_of_every_file_comes_once(folder: Path) -> None:
    """Cases T21 (the same rows as text, packed, and packed under a plain name) and T23."""
    rows = [json.dumps({"text": f"document {number}"}) for number in range(10)]
    data = "\n".join(rows).encode()
    (folder / "a.jsonl").write_bytes(data)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(data))
    (folder / "c.jsonl").write_bytes(gzip.compress(data))
    documents, counts = read("*.jsonl", "a.jsonl", "*.gz")
    places = [
        f"{name}:{row}" for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl") for row in range(1, 11)
    ]
    assert [d.name for d in documents] == places
    assert [d.text for d in documents] == [f"document {number}" for number in range(10)] * 3
    assert counts == {"read": 3}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x", "id": 1}', r"a\.jsonl:2: no field 'text'; the keys are 'body', 'id'"),
        ('{"text": 5}', r"a\.jsonl:2: expected text in 'text', found int"),
        ("[1]", r"a\.jsonl:2: expected a JSON object, found list"),
        ("{", r"a\.jsonl:2: expected a JSON object, but"),
        ('{"text": "\\ud800"}', r"a\.jsonl:2: half of a surrogate pair"),
    ],
)
def test_bad_lines_are_named(folder: Path, line: str, message: str) -> None:
    """Case T20."""
    (folder / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        read("a.jsonl")


def test_gzip_is_told_by_its_first_bytes(folder: Path) -> None:
    """Case T21."""
    (folder / "packed.txt").write_bytes(gzip.compress(ODD))
    documents, _ = read("packed.txt")
    assert [d.text.encode() for d in documents] == [ODD]
    (folder / "broken.txt").write_bytes(gzip.compress(ODD)[:-9])
    with pytest.raises(UserError, match=r"broken\.txt: broken gzip"):
        read("broken.txt")


def test_a_file_changed_since_the_plan_is_refused(folder: Path) -> None:
    (folder / "a.txt").write_text("first")
    config = CorpusConfig(source="files", paths=("a.txt",))
    planned = fingerprint(config)
    (folder / "a.txt").write_text("other")
    with pytest.raises(UserError, match="changed since"):
        list(get_source("files")(dataclasses.asdict(config), planned, Tally(), print))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("json/decoder.py", None),
        ("pip/_vendor/rich/box.py", "vendored"),
        ("setuptools/_vendored/x.py", "vendored"),
        ("pkg/third_party/x.py", "vendored"),
        ("pandas/tests/test_x.py", "tests"),
        ("numpy/testing/utils.py", None),
        ("pkg/api_pb2.py", "generated"),
        ("_sysconfigdata__linux_x.py", "generated"),
    ],
)
def test_filters_by_path(path: str, reason: str | None) -> None:
    assert path_reason(path) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x):\n    return x\n", None),
        ("# This file is AUTOGENERATED. Do not edit.\nx = 1\n", "generated"),
        ("x = 1\n" * 200 + "# do not edit\n", None),
        ("x = '" + "a" * 500 + "'\n", "long lines"),
        ("T = [\n" + "    1234, 5678,\n" * 50 + "]\n", "table"),
        ("T = [\n" + "    'ü', 'ö', 'ä', 'ß',\n" * 50 + "]\n", None),
        ("T = [\n" + "    'üöäß',\n" * 50 + "]\n", "table"),
        (" \n", "blank"),
    ],
)
def test_filters_by_text(text: str, reason: str | None) -> None:
    assert text_reason(text, len(text.encode())) == reason


def test_python_source_reads_a_distribution() -> None:
    config = CorpusConfig(packages=("packaging",))
    planned = fingerprint(config)
    tally = Tally()
    found = list(get_source("python")(dataclasses.asdict(config), planned, tally, print))
    names = [d.name for d in found]
    assert "packaging/packaging/version.py" in names
    assert names == sorted(names)
    assert tally.documents["read"] == len(names) + sum(
        count for reason, count in tally.documents.items() if reason != "read"
    )
    planned["packages"]["packaging"] = "0.0"
    with pytest.raises(UserError, match=r"planned with 0\.0"):
        list(get_source("python")(dataclasses.asdict(config), planned, Tally(), print))


def test_other_languages_of_a_distribution_are_read_by_their_endings() -> None:
    config = CorpusConfig(source="packages", packages=("numpy",), suffixes=(".h", ".pxd"))
    planned = fingerprint(config)
    tally = Tally()
    found = list(get_source("packages")(dataclasses.asdict(config), planned, tally, print))
    assert {Path(document.name).suffix for document in found} == {".h", ".pxd"}
    header = next(one for one in found if one.name.endswith("numpy/ndarraytypes.h"))
    assert "#ifndef" in header.text
    assert tally.documents["generated"] > 0
    planned["packages"]["numpy"] = "0.0"
    with pytest.raises(UserError, match=r"planned with 0\.0"):
        list(get_source("packages")(dataclasses.asdict(config), planned, Tally(), print))


@pytest.mark.parametrize(
    ("source", "suffixes"), [("packages", ()), ("python", (".h",)), ("files", (".h",))]
)
def test_endings_go_with_the_source_packages_alone(source: str, suffixes: tuple[str]) -> None:
    with pytest.raises(UserError, match=rf"corpus\.suffixes: found .* the source '{source}'"):
        fingerprint(CorpusConfig(source=source, suffixes=suffixes))


def test_what_was_planned_as_the_runtime_can_be_read() -> None:
    """A build such as 2.13.0+cpu is the release that the plan names."""
    planned = fingerprint(CorpusConfig(packages=("runtime",)))["packages"]
    assert not [version for version in planned.values() if "+" in version]
    for name, version in planned.items():
        python_source.distribution_files(name, version, (".py",))


def test_standard_library_leaves_out_installed_packages() -> None:
    names = [name for name, _ in python_source.standard_library((".py",))]
    assert "json/decoder.py" in names
    assert not [name for name in names if "site-packages" in name or "dist-packages" in name]


def test_docstrings_are_prose_without_indentation() -> None:
    code = (
        '"""Module.\n\n  Indented.\n"""\n'
        "if True:\n"
        "    class A:\n"
        '        r"""Class \\d."""\n'
        "        async def f(self):\n"
        "            '''One.\n\n            Two.\n            '''\n"
        "        x = 1\n"
        "        'not a docstring'\n"
    )
    found = extract([Document("m.py", code), Document("bad.py", "print 'two'")])
    assert found == [
        Document("m.py:1", "Module.\n\nIndented."),
        Document("m.py:7", "Class \\d."),
        Document("m.py:9", "One.\n\nTwo."),
        None,
    ]
    assert extract([Document("m.py", "'\\ud800'\n")]) == []
