"""The hub's loader, against folders and a cache in the hub's layout."""

import dataclasses
import json
import os
import re
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
from scalelab.errors import TryAgain, UserError
from scalelab.plan import hub as planned
from scalelab.plan.data import fingerprint

ROOT = Path(__file__).parents[3]
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


TOLD = """dataset_info:
- config_name: tales
  features: [{name: id, dtype: int64}, {name: story, dtype: string}]
  splits: [{name: train, num_examples: 5, num_bytes: 100}]
"""


def test_a_download_that_is_not_whole_is_said(cache: Path) -> None:
    folder = cache / "snapshots" / COMMIT
    (folder / "README.md").write_text(CARD.replace("---\nconfigs", f"---\n{TOLD}configs"))
    assert len(read(configuration("lab/tales"))) == 5
    (folder / "tales/train-1.parquet").unlink()
    with pytest.raises(UserError, match=r"holds 3 rows of lab/tales/train, its card says 5: the"):
        read(configuration("lab/tales"))
    assert len(read(configuration("lab/tales", on_error="skip"))) == 3


def test_a_hub_that_does_not_answer_leaves_the_choice_of_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commit is that of the cache, which is said; the text is not taken from it unasked."""
    import datasets
    from huggingface_hub import HfApi, constants

    def nobody(*args: Any, **options: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", nobody)
    config = configuration("lab/tales")
    before = fingerprint(config)
    assert before == {"hub": {"commit": COMMIT}}
    said = capsys.readouterr().err
    assert "corpus.hub: the hub cannot be reached (ConnectionError): 'main' is taken for " in said
    plain = dataclasses.asdict(config)
    with monkeypatch.context() as online:
        online.setattr(datasets, "load_dataset", nobody)
        with pytest.raises(TryAgain, match=r"\(nobody answers\).* HF_HUB_OFFLINE=1 reads what the"):
            list(get_source("hub")(plain, before, Tally(), print))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    rows = list(get_source("hub")(plain, before, Tally(), print))
    assert [row.text for row in rows] == ["one", "two", "three", "four", "five"]
    with pytest.raises(UserError, match="reading went as far as shard 6, now there are 2"):
        list(get_source("hub")(plain, before, Tally(start=(5,)), print))


def test_a_part_of_a_split_is_not_streamed(
    dataset: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"corpus\.hub\.split: found 'train\[:2\]' with streaming"):
        fingerprint(configuration("data", split="train[:2]"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "prepared")
    rows = read(configuration("data", split="train[:2]", streaming=False))
    assert [text for _, text in rows] == ["one", "two"]


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


@pytest.mark.parametrize("name", ["data.py", "my_data.py"])
def test_a_dataset_with_a_script_is_refused(folder: Path, name: str) -> None:
    """Case H02."""
    (folder / "data").mkdir()
    (folder / "data" / name).write_text("import datasets\n")
    with pytest.raises(UserError, match=r"'data' is read by a script of its own, .* Parquet"):
        read(configuration("data"))


@pytest.mark.parametrize("streaming", [True, False])
def test_a_cache_that_cannot_be_written_is_not_needed_or_named(
    dataset: Path, folder: Path, streaming: bool
) -> None:
    """Case H03: streaming reads without a cache, a download names the folder it could not make."""
    (folder / "file").write_text("in the way")  # permissions do not stop root
    config = configuration("data", streaming=streaming)
    spec = {"config": dataclasses.asdict(config), "fingerprint": fingerprint(config)}
    program = f"""
import json
from scalelab.corpus.documents import Tally
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
spec = json.loads({json.dumps(spec)!r})
try:
    rows = get_source("hub")(spec["config"], spec["fingerprint"], Tally(), print)
    print(len(list(rows)))
except UserError as error:
    print(error)
"""
    env = {**os.environ, "HF_HOME": str(folder / "file/home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    wanted = "5" if streaming else f"corpus.hub: 'data' cannot be opened: .*{folder}/file/home"
    assert re.match(wanted, done.stdout.strip().splitlines()[-1]), done.stdout + done.stderr


def test_planning_another_source_does_not_load_the_hub() -> None:
    code = (
        "import sys; from scalelab.config import CorpusConfig; from scalelab.plan.data import "
        "fingerprint; fingerprint(CorpusConfig(packages=('stdlib',))); "
        "print('huggingface_hub' in sys.modules, 'fsspec' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
