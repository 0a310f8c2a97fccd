"""The hub's loader, against folders and a cache in the hub's layout."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from scalelab.config import CorpusConfig, HubConfig
from scalelab.corpus.documents import Tally
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
from scalelab.plan import hub as planned
from scalelab.plan.data import fingerprint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
configs:
- config_name: tales
  data_files: [{split: train, path: tales/train-*.parquet}, {split: test, path: tales/test.parquet}]
- config_name: news
  data_files: [{split: train, path: news/*.parquet}]
---
"""


def write_dataset(folder: Path) -> Path:
    """Two configurations, one of them in two shards with two splits."""
    files = {
        "tales/train-0.parquet": ["one", "two", "three"],
        "tales/train-1.parquet": ["four", "five"],
        "tales/test.parquet": ["six"],
        "news/a.parquet": ["seven"],
    }
    for name, texts in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.table({"id": range(len(texts)), "story": texts}), path)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def dataset(folder: Path) -> Path:
    return write_dataset(folder / "data")


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as `hf download` fills it, and no network."""
    from huggingface_hub import constants

    root = folder / "cache/hub/datasets--lab--tales"
    write_dataset(root / "snapshots" / COMMIT)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache/hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv(planned.FOUND, raising=False)
    return root


def configuration(name: str, **options: Any) -> CorpusConfig:
    fields = {key: options.pop(key) for key in ("text_field", "on_error") if key in options}
    given = {"config": "tales", **options}
    hub = HubConfig(name=name, **given)
    return CorpusConfig(source="hub", hub=hub, **{"text_field": "story", **fields})


def read(config: CorpusConfig, tally: Tally | None = None) -> list[tuple[str, str]]:
    plain = dataclasses.asdict(config)
    source = get_source("hub")
    rows = source(plain, fingerprint(config), tally or Tally(), lambda line: None)
    return [(row.name, row.text) for row in rows]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_folder_in_the_layout_of_the_hub(
    dataset: Path, streaming: bool, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "prepared")
    texts = [text for _, text in read(configuration("data", streaming=streaming))]
    assert texts == ["one", "two", "three", "four", "five"]
    assert [text for _, text in read(configuration("data", split="test"))] == ["six"]
    assert [text for _, text in read(configuration("data", config="news"))] == ["seven"]


def test_reading_goes_on_with_the_shard_that_was_interrupted(dataset: Path) -> None:
    tally = Tally(start=(1,))
    rows = read(configuration("data"), tally)
    assert [name for name, _ in rows] == [f"data/train, shard 2, row {n}" for n in (1, 2)]
    assert [text for _, text in rows] == ["four", "five"]


def test_the_content_of_a_folder_is_its_identity(dataset: Path) -> None:
    config = configuration("data")
    before = fingerprint(config)
    assert fingerprint(config) == before
    (dataset / "README.md").write_text(CARD + "changed")
    assert fingerprint(config) != before
    with pytest.raises(UserError, match="data: changed since the corpus was planned"):
        list(get_source("hub")(dataclasses.asdict(config), before, Tally(), print))


def test_a_download_is_read_without_a_network(cache: Path) -> None:
    """Case H01."""
    config = configuration("lab/tales")
    assert fingerprint(config) == {"hub": {"commit": COMMIT}}
    assert [text for _, text in read(config)] == ["one", "two", "three", "four", "five"]
    assert [text for _, text in read(configuration("lab/tales", revision=COMMIT))][:1] == ["one"]


def test_jobs_keep_the_commit_that_their_workflow_found(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(configuration("lab/tales"))
    (cache / "refs/main").write_text("f" * 40)
    assert fingerprint(configuration("lab/tales")) == first
    monkeypatch.delenv(planned.FOUND)
    with pytest.raises(UserError, match="not in the cache"):
        fingerprint(configuration("lab/tales"))


def test_a_name_without_network_says_how_to_get_it(cache: Path) -> None:
    """Case H01."""
    with pytest.raises(UserError, match=r"corpus\.hub\.name: 'lab/other' at 'main' is not in the "):
        fingerprint(configuration("lab/other"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "poems"}, "corpus.hub: 'data' cannot be opened: .*'?poems'?.*tales"),
        ({"split": "dev"}, "corpus.hub: 'data' cannot be opened: .*dev"),
        ({"text_field": "text"}, r"data/train has no column 'text', but 'id', 'story'"),
        ({"text_field": "id"}, r"data/train, shard 1, row 1: expected text in 'id', found int"),
    ],
)
def test_what_is_not_there_is_named(dataset: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(configuration("data", **options))


def test_a_dataset_with_a_script_is_refused(folder: Path) -> None:
    """Case H02."""
    (folder / "data").mkdir()
    (folder / "data/data.py").write_text("import datasets\n")
    with pytest.raises(UserError, match=r"'data' is read by a script of its own, .* Parquet"):
        read(configuration("data"))


def test_planning_another_source_does_not_load_the_hub() -> None:
    code = (
        "import sys; from scalelab.config import CorpusConfig; from scalelab.plan.data import "
        "fingerprint; fingerprint(CorpusConfig(packages=('stdlib',))); "
        "print('huggingface_hub' in sys.modules, 'fsspec' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
