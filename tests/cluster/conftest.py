"""SLURM and its Snakemake executor, or the reason why there is none."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
from slurm import Slurm, started, why_not

PLUGINS = Path(sys.prefix, "cluster")
"""Where .ci/run puts the executor: beside the environment, since Snakemake loads all executors that
it finds each time it starts, and this one takes a second."""


@pytest.fixture
def executor() -> dict[str, str]:
    """What Snakemake needs in its environment to find the executor for SLURM."""
    if PLUGINS.is_dir():
        return {"PYTHONPATH": str(PLUGINS)}
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("no executor for SLURM here: pip install 'scalelab[cluster]'")
    return {}


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    """A SLURM of two nodes."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with started() as cluster:
        yield cluster
