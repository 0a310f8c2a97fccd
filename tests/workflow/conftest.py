"""The micro study, run once for all tests through the real command line."""

import os
import pickle
from pathlib import Path

import pytest
from filelock import FileLock
from workflow_project import Finished, Project, wait_for
from workflow_secrets import SECRETS


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The micro study from nothing to its report, made by the first worker that asks for it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    base /= "micro"
    kept = base / "finished.pickle"
    with FileLock(f"{base}.lock"):
        if not kept.exists():
            result = finish_micro_study(base)
            kept.write_bytes(pickle.dumps(result))
    return pickle.loads(kept.read_bytes())


def finish_micro_study(base: Path) -> Finished:
    """Run the micro study in a folder of its own, with false programs first in PATH."""
    project = Project.create(base / "project")
    called = base / "called"
    for name in ("python", "python3", "scalelab"):
        program = base / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} >> "{called}"\nexit 3\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(base / "bin"), os.environ.get("PATH", os.defpath)])
    # Case T18: text outside ASCII must not depend on the language of the system.
    first = project.start(env={"PATH": path, "LC_ALL": "C", **SECRETS})
    try:
        wait_for(project.runs_in_training, first)
        second = project.snakemake()
        first.wait()
    finally:
        project.end(first)
    output = (project.root / "run.log").read_text(encoding="utf-8")
    assert first.returncode == 0, output
    strangers = called.read_text().split() if called.exists() else []
    return Finished(project, output, second, strangers)


@pytest.fixture
def project(finished: Finished, tmp_path: Path) -> Project:
    """A copy of the finished study in another place, to be changed."""
    return finished.project.copy(tmp_path / "project")
