"""The hub's loader over a network: a server on this machine that speaks as the hub does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, FAULT, NAME, serving
from test_corpus_hub import write_dataset

ROOT = Path(__file__).parents[3]
PROGRAM = """
import dataclasses, json, os, time, urllib.request
import datasets
from scalelab.config import CorpusConfig, HubConfig
from scalelab.corpus.documents import Tally
from scalelab.corpus.sources import get_source
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint

time.sleep = lambda seconds: None  # before another try

def read(tally=None, **options):
    hub = HubConfig(**{"name": NAME, "config": "tales", **options})
    config, texts, said = CorpusConfig(source="hub", hub=hub, text_field="story"), [], []
    tally = tally or Tally()
    try:
        found = fingerprint(config)
        rows = get_source("hub")(dataclasses.asdict(config), found, tally, said.append)
        texts.extend(row.text for row in rows)
        return {"texts": texts, "found": found, "said": said}
    except UserError as error:
        kind, place = type(error).__name__, tally.place
        return {"texts": texts, "error": f"{kind}: {error}", "place": place, "said": said}

def fault(file):
    urllib.request.urlopen(os.environ["HF_ENDPOINT"] + FAULT + file).read()

out = {"streamed": read(), "cached": read(streaming=False)}
out |= {"nobody": read(name="lab/none"), "revision": read(revision="v9"), "split": read(split="no")}
fault("tales/train-1.parquet")
out["broken off"] = read()
fault("")
out["again"] = read(tally=Tally(start=tuple(out["broken off"]["place"])))
print(json.dumps(out), flush=True)
os._exit(0)  # threads of Arrow that still read what was broken off may end an exit with SIGABRT
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each way of reading gave, all in one process."""
    folder = tmp_path_factory.mktemp("hub")
    with serving(write_dataset(folder / "data")) as address:
        values = f"NAME, FAULT = {NAME!r}, {FAULT!r}\n"
        done = subprocess.run(
            [sys.executable, "-c", values + PROGRAM],
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
                **{"HF_ENDPOINT": address, "HF_HOME": str(folder / "home")},
                **{"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"},
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("way", ["streamed", "cached"])
def test_a_branch_is_read_at_its_commit(found: dict[str, Any], way: str) -> None:
    assert found[way]["found"] == {"hub": {"commit": COMMIT}}
    assert found[way]["texts"] == ["one", "two", "three", "four", "five"]


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("nobody", "corpus.hub.name: 'lab/none' is no folder here, and no dataset of the hub that"),
        ("revision", "corpus.hub.revision: the dataset 'lab/tales' has no 'v9'"),
        (
            "split",
            "corpus.hub: 'lab/tales' cannot be opened: Bad split: no. Available splits: ",
        ),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(
    found: dict[str, Any], way: str, sentence: str
) -> None:
    assert found[way]["error"].startswith(f"UserError: {sentence}")


def test_a_connection_that_ends_half_way_can_be_tried_again(found: dict[str, Any]) -> None:
    sentence = "TryAgain: lab/tales/train, shard 2: reading was interrupted at row 0"
    assert found["broken off"]["error"].startswith(sentence)
    assert found["broken off"]["texts"] == ["one", "two", "three"]
    assert found["again"]["texts"] == ["four", "five"]
