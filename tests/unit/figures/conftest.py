"""Synthetic studies on disk, each written once a session."""

import pytest
from example_designs import write_design
from example_study import CASES, write_study


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    """A function from the name of a case to the folder of its study."""
    written = {}

    def get(name):
        if name not in written:
            root = tmp_path_factory.mktemp("study")
            written[name] = write_study(root, **{"lines": 24, **CASES[name]})
        return written[name]

    return get


@pytest.fixture(scope="session")
def design(tmp_path_factory):
    """A function from the name of a design to the folder of its study."""
    written = {}

    def get(name):
        if name not in written:
            written[name] = write_design(tmp_path_factory.mktemp("design"), name)
        return written[name]

    return get
