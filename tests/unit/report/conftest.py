"""The synthetic studies of the figures' tests. Figures are drawn once; pages embed them."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))

from example_study import CASES, write_study

from scalelab.figures import draw


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A function that writes a study (a case, with changes) without figures."""

    def get(name="usual", **changes):
        root = tmp_path_factory.mktemp("report")
        return write_study(root, **{"lines": 8, **CASES[name], **changes})

    return get


@pytest.fixture(scope="session")
def usual(written):
    """The usual study with two of its figures."""
    study = written()
    for kind in ("scaling_law", "loss_vs_tokens"):
        draw(kind, study, study / "figures", formats=("svg",))
    return study


@pytest.fixture(scope="session")
def drawn(written, usual):
    """A function that writes a study beside the figures of the usual one."""

    def get(name="usual", **changes):
        study = written(name, **changes)
        shutil.copytree(usual / "figures", study / "figures")
        return study

    return get
