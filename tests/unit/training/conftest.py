"""What the tests of the loop share: a stream of tokens and a trainer over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab.training.loop import Trainer


@pytest.fixture
def tokens() -> np.ndarray:
    """20,000 tokens of 12 kinds, so that a loss can fall within a few steps."""
    return np.random.default_rng(0).integers(97, 109, size=20_000).astype(np.uint16)


@pytest.fixture
def trainer(tokens: np.ndarray, tmp_path: Path) -> Callable[..., Trainer]:
    """Make a trainer of a specification; `folder` and `identity` default to the same ones."""

    def make(
        spec: dict[str, Any],
        folder: Path = tmp_path / "state",
        identity: str = "one",
        notes: list[str] | None = None,
    ) -> Trainer:
        report = (notes if notes is not None else []).append
        return Trainer(spec, tokens, folder, identity, report, "d8-s1")

    return make
