"""Work of a measure divided over processes: the same results, and none of one that is lost."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from scalelab.cli import main
from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.evaluation.measure import subject_of
from scalelab.evaluation.measures import _writing
from scalelab.evaluation.spread import Lost, spread
from scalelab.files import read_json

SETTINGS = {"measure": "generation", "split": "test", "windows": 40, "seed": 5}
IN_PARTS = 3
"""Texts that are written at once here, so that there are several parts."""


def doubled(model: object, part: int) -> tuple[int, str]:
    """A result, and who made it."""
    return 2 * part, os.environ.get("LOCAL_RANK", "0")


def killed(model: object, part: int) -> int:
    """All but the first process are killed."""
    if "LOCAL_RANK" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def failing(model: object, part: int) -> int:
    """A mistake in one of the others."""
    if "LOCAL_RANK" in os.environ:
        raise ZeroDivisionError
    return part


def pids(model: object, part: Path) -> int:
    """Leaves the id of its process, and waits in the others."""
    if "LOCAL_RANK" in os.environ:
        part.write_text(str(os.getpid()))
        signal.pause()
    other = part.with_name("1")
    while not (other.exists() and other.read_text()):
        pass
    raise ZeroDivisionError


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    """Of a small run."""
    return trained / "checkpoint"


def words(run: Path, corpus: Path, out: Path, **settings: object) -> list[str]:
    """`scalelab measure`."""
    told = json.dumps({**SETTINGS, **settings})
    return [
        *("measure", "--run", str(run), "--corpus", str(corpus)),
        *("--settings", told, "--out", str(out)),
    ]


def test_results_are_in_the_order_of_the_parts_and_each_process_has_its_rank(checkpoint):
    found = spread(None, doubled, range(5), checkpoint, 2, 1)
    assert found == [(2 * part, str(part % 2)) for part in range(5)]
    assert "LOCAL_RANK" not in os.environ
    assert spread(None, doubled, range(1), checkpoint, 2, 1) == [(0, "0")]


def test_texts_are_the_same_to_the_last_token_by_any_number_of_processes(
    trained, corpus_folder, monkeypatch
):
    monkeypatch.setattr(_writing, "WRITE_TEXTS", IN_PARTS)
    run, corpus = read_json(trained / "run.json"), load(corpus_folder)
    made = partial(subject_of, trained, run, corpus, corpus_folder, SETTINGS, 1)
    given = np.repeat(made().windows[:8, :9], 2, axis=0)
    one, two = (_writing.write(made(processes), given, 6) for processes in (1, 2))
    assert all(map(np.array_equal, one, two))
    assert len(np.unique(one[1], axis=0)) > 12, "drawn texts of one beginning differ"
    # A text's draws are its own, whatever is written beside it.
    few = _writing.write(made(), given[:4], 6)
    assert np.array_equal(few[1], one[1][:4])


def test_the_verb_writes_the_same_file_in_two_processes(trained, corpus_folder, tmp_path):
    found = []
    for processes in ("1", "2"):
        out = tmp_path / f"{processes}.json"
        asked = [*words(trained, corpus_folder, out), "--processes", processes]
        assert main([*asked, "--threads", processes]) == 0
        found.append(read_json(out)["estimates"])
    assert found[0] == found[1]
    assert found[0]["sampled_chrf"]["value"] > 0


def test_a_process_that_fails_is_named(checkpoint):
    told = "process 2 of 2 has ended with 1; the others were ended too"
    with pytest.raises(Lost, match=told) as lost:
        spread(None, failing, range(4), checkpoint, 2, 1)
    assert lost.value.code == 1


def test_what_is_wrong_in_another_process_is_said_once(tmp_path):
    with pytest.raises(UserError, match="expected a checkpoint of transformers, but"):
        spread(None, doubled, range(4), tmp_path, 2, 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_no_process_is_left_when_the_first_fails(checkpoint, tmp_path):
    with pytest.raises(ZeroDivisionError):
        spread(None, pids, [tmp_path / "0", tmp_path / "1"], checkpoint, 2, 1)
    assert not Path("/proc", (tmp_path / "1").read_text()).exists()


def test_the_verb_ends_in_one_sentence_and_leaves_nothing(
    trained, corpus_folder, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(_writing, "go_on", killed)
    out = tmp_path / "measures" / "generation.json"
    assert main([*words(trained, corpus_folder, out), "--processes", "2"]) == 128 + signal.SIGKILL
    assert capfd.readouterr().err == (
        "process 2 of 2 was ended by SIGKILL; the others were ended too, nothing was written, and "
        "the same command starts anew\n"
    )
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("measure", "processes", "refusal"),
    [
        ("generation", "0", "--processes: found 0, expected 1 or more"),
        ("calibration", "2", "--processes: found 2, expected 1 for calibration"),
    ],
)
def test_numbers_of_processes_that_cannot_be_are_refused(
    measure, processes, refusal, trained, corpus_folder, tmp_path, capsys
):
    out = tmp_path / "out.json"
    asked = words(trained, corpus_folder, out, measure=measure)
    assert main([*asked, "--processes", processes]) == 2
    assert refusal in capsys.readouterr().err
    assert not out.exists()
