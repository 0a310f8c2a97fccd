"""One tiny corpus and one tiny trained run, made by the product itself, for every layer's tests."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.config import CorpusConfig
from scalelab.plan.data import fingerprint

VOCABULARY = 257  # of the bytes tokenizer


def make_spec(steps: int = 60, **training: Any) -> dict[str, Any]:
    """The specification of a run of width 8: four sequences of 16 tokens a step."""
    recipe: dict[str, Any] = {
        "steps": steps,
        "batch_tokens": 64,
        "lr": 0.01,
        "schedule": {
            "kind": "wsd",
            "warmup_steps": 3,
            "cooldown_steps": 15,
            "final": 0.0,
            "share_trunk": False,
        },
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "clip": 1.0,
        "precision": "fp32",
    }
    assert set(training) <= {*recipe}, "a test asks for a key that the recipe does not have"
    return {
        "format": 1,
        "corpus": "0123456789ab",
        "model": {
            "family": "gpt2",
            "depth": 1,
            "width": 8,
            "heads": 2,
            "context": 16,
            "vocab": VOCABULARY,
        },
        "training": {**recipe, **training},
        "threads": 1,
        "seed": 1234,
    }


@pytest.fixture(scope="session")
def spec() -> Callable[..., dict[str, Any]]:
    """`make_spec`."""
    return make_spec


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of raw bytes: about 40,000 tokens to train on, 2,000 of each held-out split."""
    from scalelab.corpus.prepare import prepare

    root = tmp_path_factory.mktemp("tiny")
    rng = random.Random(5)
    paths = []
    for number in range(80):
        words = ("".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(110))
        path = root / f"{number:02}.txt"
        path.write_text(" ".join(words) + "\n", encoding="utf-8")
        paths.append(str(path))
    config = CorpusConfig(
        source="files", paths=tuple(paths), tokenizer="bytes", test_tokens=2000, tuning_tokens=2000
    )
    specification = {
        "format": 1,
        "config": dataclasses.asdict(config),
        "seed": 7,
        "fingerprint": fingerprint(config),
    }
    prepare(specification, root / "corpus", lambda _: None)
    return root / "corpus"


@pytest.fixture(scope="session")
def trained(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that `train` finished; to be read only."""
    from scalelab.training.run import train

    folder = tmp_path_factory.mktemp("runs") / "run"
    result = train(make_spec(), corpus_folder, folder, 1, lambda _: None)
    assert result["status"] == "ok"
    return folder
