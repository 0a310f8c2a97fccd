"""What the tests of the loop share: a stream of tokens and a trainer over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab.training.loop import Trainer


@pytest.fixture
def tokens() -> np.ndarray:
    """20,000 tokens in which each depends on the one before it."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 3, 7], size=20_000)
    return (np.cumsum(steps) % 256 + 1).astype(np.uint16)


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
