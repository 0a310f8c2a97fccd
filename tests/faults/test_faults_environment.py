"""Environments that are not as usual: the same plan, and no word more (matrix.py: many others)."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matrix
import pytest

from scalelab.cli import main

PLAN = ["plan", "study.yaml", "--json", "plan.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study and its text, in a folder with an awkward name."""
    folder = tmp_path / matrix.AWKWARD
    matrix.inputs(folder)
    return folder


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The plan as this process makes it."""
    folder = tmp_path_factory.mktemp("usual") / "study"
    matrix.inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(PLAN) == 0
    return matrix.results(folder)


def offline() -> tuple[str, ...]:
    """Words that take the network from a command, where they may."""
    words = ("unshare", "-n")
    able = shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True)
    return words if able and able.returncode == 0 else ()


CASES = {
    "no language, no home": matrix.Environment(
        without=("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "XDG_CACHE_HOME"),
        more={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "HOME": os.devnull},
    ),
    "a narrow terminal, no network": matrix.Environment(
        terminal=True, more={"COLUMNS": "40", "TERM": "dumb"}, before=offline()
    ),
    "files of the future": matrix.Environment(prepare=matrix.of_the_future),
}


@pytest.mark.parametrize("case", CASES)
def test_a_plan_is_the_same_everywhere(folder: Path, usual: object, case: str) -> None:
    there = CASES[case]
    there.prepare(folder)
    before = {path.name for path in folder.iterdir()}
    done, shown = matrix.call(PLAN, folder, there, sys.executable)
    assert (done.returncode, done.stdout or b"", done.stderr or b"", shown) == (0, b"", b"", b"")
    assert matrix.results(folder) == usual
    assert {path.name for path in folder.iterdir()} - before == {"plan.json"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Characters outside its encoding, and a name that is no text at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("run,step,N,tokens,loss_nats\na,1,1000,2000,3.5\n")
    out = "模型 " + os.fsdecode(b"\xff.csv")
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["import", "log.csv", "--last", "--dataset", "text", "--out", out]) == 0
    shown.flush()
    assert b"\\udcff.csv: 1 run" in shown.buffer.getvalue()
    assert (tmp_path / out).exists()
