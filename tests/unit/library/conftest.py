"""A results folder with finished runs, and the command line to call on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from results_folder import SIZES, Results


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Results:
    """Five sizes in the study `sizes`; two of them in `pair` too; one run in no plan."""
    made = Results(tmp_path / "results", trained)
    specs = {f"d{width}-s1": made.spec(width) for width in SIZES}
    for spec in specs.values():
        size = 12 * spec["model"]["width"] ** 2
        made.add(spec, 1.8 + 20 * size**-0.4)
    made.add(made.spec(16, lr=0.003), 3.0)
    made.plan("sizes", specs)
    made.plan("pair", {f"d{width}-lr0.01": made.spec(width) for width in (16, 24)})
    return made


@pytest.fixture
def scalelab(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command line: exit code, what it printed, what it said on stderr."""
    from scalelab.cli import main

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
