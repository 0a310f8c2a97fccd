"""lm-evaluation-harness for the tests that need it."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def lm_eval(apart: Callable[[str, str], Any]) -> Any:
    """The package lm_eval; where there is none the test is skipped."""
    return apart("lm_eval", "tasks")
