"""Case S19: jobs of one host share its GPUs by slots, which need no GPU to be tested."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.errors import UserError
from scalelab.training.slots import devices, taken

JOB = """
import os, sys, time
from pathlib import Path
from scalelab.training.slots import taken
count, out = int(sys.argv[1]), Path(sys.argv[2])
with taken(count, lambda line: print(line, flush=True)):
    began = time.monotonic()
    time.sleep(0.5)
    out.write_text(f"{began} {time.monotonic()} {os.environ['CUDA_VISIBLE_DEVICES']}")
"""


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def start(count: int, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", JOB, str(count), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(
    jobs: list["subprocess.Popen[str]"], outs: list[Path]
) -> list[tuple[float, float, str]]:
    """Begin, end and devices of each."""
    for job, out in zip(jobs, outs, strict=True):
        said, _ = job.communicate(timeout=60)
        assert job.returncode == 0
        assert f"CUDA_VISIBLE_DEVICES={out.read_text().split()[2]}\n" in said, "the log tells which"
    rows = (out.read_text().split() for out in outs)
    return [(float(begin), float(end), names) for begin, end, names in rows]


def test_jobs_never_overlap_on_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    outs = [tmp_path / str(number) for number in range(3)]
    rows = sorted(finished([start(1, out) for out in outs], outs))
    assert {names for _, _, names in rows} == {"GPU-a"}
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(rows))


def test_each_job_has_gpus_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    outs = [tmp_path / "two", tmp_path / "one"]
    rows = finished([start(2, outs[0]), start(1, outs[1])], outs)
    names = [set(row[2].split(",")) for row in rows]
    assert [len(found) for found in names] == [2, 1]
    if rows[0][0] < rows[1][1] and rows[1][0] < rows[0][1]:  # at the same time
        assert not names[0] & names[1]
    assert set.union(*names) <= {"3", "5", "7"}


def test_a_killed_job_frees_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    job = start(1, tmp_path / "killed")
    assert job.stdout is not None
    assert job.stdout.readline() == "CUDA_VISIBLE_DEVICES=0\n"
    job.kill()
    job.wait()
    said: list[str] = []
    with taken(1, said.append):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert said == ["CUDA_VISIBLE_DEVICES=0"]


def test_devices_of_two_jobs_of_slurm_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may call the first of its own GPUs 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    with taken(1, list[str]().append):
        monkeypatch.setenv("SLURM_JOB_ID", "12")
        said: list[str] = []
        with taken(1, said.append):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        assert said == ["CUDA_VISIBLE_DEVICES=0"], "it has not waited"


def test_nothing_changes_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    with taken(0, pytest.fail):
        assert devices() == ["1", "2"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"


def test_more_than_there_are_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    said = "--gpus: found 3, expected at most the 2 of this host"
    with pytest.raises(UserError, match=said), taken(3, pytest.fail):
        pass
