"""lm-evaluation-harness for the tests that need it."""

import importlib.util
import sys
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[3] / ".tasks"
"""Where continuous integration puts requirements-tasks.lock: beside the environment, whose own
python-dateutil it must not replace."""


@pytest.fixture(scope="session")
def lm_eval():
    """The package lm_eval; where there is none the test is skipped."""
    if importlib.util.find_spec("lm_eval") is None and BESIDE.is_dir():
        sys.path.append(str(BESIDE))
    return pytest.importorskip(
        "lm_eval",
        reason="lm-evaluation-harness is not installed (pip install 'scalelab[tasks]')",
    )
