"""A run on several nodes: the command that is built. tests/cluster starts it for real."""

import sys

import pytest

from scalelab.cli import main
from scalelab.training.nodes import step


def test_srun_starts_one_torchrun_on_each_node() -> None:
    built = step(["train", "--nodes", "2"], 8, 2, 12, "40123", "10.0.0.5")
    cut = built.index(sys.executable)
    assert built[0] == "srun"
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=12"} <= {
        *built[:cut]
    }
    assert built[cut + 1 : cut + 3] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--nproc-per-node=4", "--max-restarts=0"} <= {*built}
    assert "--rdzv-endpoint=10.0.0.5:20123" in built
    assert built[-5:] == ["-m", "scalelab", "train", "--nodes", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "2", "--processes", "2"], "--nodes 2: expected to be in a job of SLURM"),
        (["--nodes", "0"], "--nodes: found 0, expected 1 or more"),
    ],
)
def test_nodes_that_are_not_there_are_one_sentence(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLURM_JOB_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["train", "--spec", "{}", "--corpus", "c", "--out", "o", *words]) == 2
    assert said in capsys.readouterr().err


def test_processes_that_do_not_fill_the_nodes_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    words = ["--nodes", "2", "--processes", "3"]
    assert main(["train", "--spec", "{}", "--corpus", "c", "--out", "o", *words]) == 2
    assert "--processes: found 3, expected a multiple of --nodes 2" in capsys.readouterr().err
