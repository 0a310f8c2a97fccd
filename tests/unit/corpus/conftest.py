"""Small corpora for tests: random prose, a specification, a place to write."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import CorpusConfig
from scalelab.plan.data import fingerprint


def make_prose(seed: int, words: int = 300) -> str:
    """Random words in lines; two seeds share next to no 5-gram."""
    rng = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    text = ("".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(words))
    return "".join(word + ("\n" if i % 9 == 8 else " ") for i, word in enumerate(text))


def make_specification(paths: list[str], seed: int = 7, **fields: Any) -> dict[str, Any]:
    """A specification of the source `files` with the bytes tokenizer and small held-out sets."""
    defaults = {"tokenizer": "bytes", "test_tokens": 4000, "tuning_tokens": 2000}
    config = CorpusConfig(source="files", paths=tuple(paths), **{**defaults, **fields})
    return {
        "format": 1,
        "config": dataclasses.asdict(config),
        "seed": seed,
        "fingerprint": fingerprint(config),
    }


@pytest.fixture
def prose() -> Callable[..., str]:
    """`make_prose`."""
    return make_prose


@pytest.fixture
def specification() -> Callable[..., dict[str, Any]]:
    """`make_specification`."""
    return make_specification


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def texts(folder: Path) -> list[str]:
    """160 files of distinct prose in text/, about 700 bytes each; their names."""
    (folder / "text").mkdir()
    names = [f"text/{i:03}.txt" for i in range(160)]
    for i, name in enumerate(names):
        (folder / name).write_text(make_prose(i, words=120), encoding="utf-8")
    return names
