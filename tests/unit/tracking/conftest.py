"""A results folder with one evaluated run."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_stubs import KEY, write_plan

from scalelab.evaluation.run import evaluate
from scalelab.files import digest


@pytest.fixture(scope="session")
def evaluated(trained: Path, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run with its evaluation `e`; to be copied."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, folder)
    settings = {"split": "test", "context": 16, "stride": 16}
    evaluate(folder, corpus_folder, settings, folder / "eval" / "e.json", 1, lambda _: None)
    return folder


@pytest.fixture
def results(
    evaluated: Path,
    spec: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A results folder with a plan of one evaluated run, and a key in the environment."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "results"
    shutil.copytree(evaluated, root / "runs" / digest(spec()))
    write_plan(root, [digest(spec())])
    return root
