"""Object storage, against a server that speaks S3 on this machine."""

import dataclasses
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from object_storage import RCLONE, credentials, s3_server
from pyarrow import parquet

from scalelab.config import CorpusConfig
from scalelab.corpus.documents import Tally
from scalelab.corpus.prepare import prepare
from scalelab.corpus.sources import get_source
from scalelab.errors import TryAgain, UserError
from scalelab.plan import remote
from scalelab.plan.data import fingerprint

Put = Callable[[str, bytes], None]
pytestmark = pytest.mark.skipif(not RCLONE, reason="rclone, of the extra dev, is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the folder whose subfolders are its buckets."""
    folder = tmp_path_factory.mktemp("buckets")
    with s3_server(folder, "--dir-cache-time", "0s") as address:  # the tests write files there
        yield address, folder


@pytest.fixture
def put(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes an object into the bucket `texts`, which is empty at first."""
    for name, value in credentials(server[0]).items():
        monkeypatch.setenv(name, value)
    bucket = server[1] / "texts"
    shutil.rmtree(bucket, ignore_errors=True)

    def write(name: str, data: bytes) -> None:
        path = bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


def read(config: CorpusConfig, planned: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    found = get_source("files")(
        dataclasses.asdict(config), planned or fingerprint(config), Tally(), print
    )
    return [(document.name, document.text) for document in found]


def test_objects_are_read_like_files(put: Put) -> None:
    put("a/one.txt", b"plain text")
    put("a/two.jsonl.gz", gzip.compress(b'{"text": "packed"}\n'))
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["in a column"]}), sink)
    put("a/three.parquet", sink.getvalue())
    put("b/four.txt", b"elsewhere")
    config = CorpusConfig(source="files", paths=("s3://texts/a/*", "s3://texts/b/four.txt"))
    assert read(config) == [
        ("s3://texts/a/one.txt", "plain text"),
        ("s3://texts/a/three.parquet, row 1", "in a column"),
        ("s3://texts/a/two.jsonl.gz:1", "packed"),
        ("s3://texts/b/four.txt", "elsewhere"),
    ]
    found = fingerprint(config)["files"]
    assert [entry["bytes"] for entry in found[:1]] == [10]
    assert all(entry["version"] for entry in found)


@pytest.mark.parametrize(
    "info",
    [
        {"mtime": datetime(2026, 11, 28, 9, 30, 1, 250_000, tzinfo=UTC)},
        {"LastModified": datetime(2026, 11, 28, 9, 30, 1), "ETag": '"abc"'},
        {"updated": "2026-11-28T09:30:01.5Z", "etag": "abc", "generation": "7"},
        {"modified": 1_795_858_201.5},
        {"modificationTime": 1_795_858_201_500},
    ],
)
def test_the_version_is_one_whatever_package_asks_the_store(info: dict[str, Any]) -> None:
    assert remote._version({**info, "size": 9}) == "changed 2026-11-28T09:30:01+00:00, 9 bytes"


def test_a_store_without_times_is_asked_for_its_tag() -> None:
    assert remote._version({"ETag": '"abc"', "size": 9}) == "ETag abc"


@pytest.mark.parametrize(
    ("asked", "path", "name", "address"),
    [
        ("s3://texts/a/*", "texts/a/*", "texts/a/one.txt", "s3://texts/a/one.txt"),
        ("hdfs://node:8020/a/*", "/a/*", "/a/one.txt", "hdfs://node:8020/a/one.txt"),
        ("hdfs:///a/one.txt", "/a/one.txt", "/a/one.txt", "hdfs:///a/one.txt"),
        ("https://h/a.txt", "https://h/a.txt", "https://h/a.txt", "https://h/a.txt"),
        ("s3a://texts/a.txt", "texts/a.txt", "texts/a.txt", "s3a://texts/a.txt"),
    ],
)
def test_an_address_keeps_its_host(asked: str, path: str, name: str, address: str) -> None:
    assert remote._address(asked, path, name) == address


def test_a_changed_object_is_refused(put: Put) -> None:
    put("one.txt", b"first")
    config = CorpusConfig(source="files", paths=("s3://texts/one.txt",))
    planned = fingerprint(config)
    planned["files"][0]["version"] = "changed another day"
    with pytest.raises(UserError, match=r"s3://texts/one\.txt: changed since the corpus"):
        read(config, planned)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://texts/missing.txt", r"'s3://texts/missing\.txt': no such file"),
        ("s3://texts/*.md", r"'s3://texts/\*\.md' matches no file"),
        ("s3://texts/empty.txt", r"s3://texts/empty\.txt: is empty"),
        ("s3://texts/image.png", r"s3://texts/image\.png: expected a file that ends in"),
        ("nowhere://texts/a.txt", r"nowhere://texts/a\.txt: nowhere:// cannot be opened here"),
    ],
)
def test_bad_addresses(put: Put, path: str, message: str) -> None:
    put("empty.txt", b"")
    put("image.png", b"x")
    with pytest.raises(UserError, match=message):
        fingerprint(CorpusConfig(source="files", paths=(path,)))


def test_a_server_that_is_gone_is_said_in_one_sentence(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("one.txt", b"text")
    config = CorpusConfig(source="files", paths=("s3://texts/one.txt",))
    planned = fingerprint(config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match=r"^s3://texts/one\.txt: cannot be read: .*"):
        fingerprint(config)
    with pytest.raises(TryAgain, match=r"^s3://texts/one\.txt: cannot be read: .*"):
        read(config, planned)


def test_a_corpus_from_object_storage_equals_that_of_files(
    put: Put, folder: Path, prose: Callable[..., str]
) -> None:
    rows = [json.dumps({"text": prose(number, words=120)}) for number in range(120)]
    data = "\n".join(rows).encode()
    put("a.jsonl", data)
    (folder / "a.jsonl").write_bytes(data)
    hashes = []
    for path in ("a.jsonl", "s3://texts/a.jsonl"):
        config = CorpusConfig(
            source="files", paths=(path,), tokenizer="bytes", test_tokens=2000, tuning_tokens=1000
        )
        plain = dataclasses.asdict(config)
        spec = {"format": 1, "config": plain, "seed": 1, "fingerprint": fingerprint(config)}
        hashes.append(prepare(spec, folder / f"out{len(hashes)}", print)["data_hash"])
    assert hashes[0] == hashes[1]
