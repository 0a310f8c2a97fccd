"""`scalelab runs prune`: what no plan uses goes, nothing else, and a kill leaves no half run."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from results_folder import Results

from scalelab.files import digest
from scalelab.library import removal

Call = Callable[..., tuple[int, str, str]]


def tree(root: Path) -> set[str]:
    """All files but locks, relative to the folder."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def put(path: Path, size: int = 100) -> None:
    """A file of so many bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_unused_takes_what_no_plan_uses_and_nothing_else(scalelab: Call, results: Results) -> None:
    root = results.root
    results.plan(
        "trunks", {"d8-s1": results.spec(8)}, trunks=[{"id": "a" * 12, "branches": {"x": 20}}]
    )
    used = [
        root / "trunks" / ("a" * 12) / "20.state",
        root / "corpora" / "0123456789ab" / "train.bin",
        root / "pair" / "runs.csv",
    ]
    gone = [
        root / "trunks" / ("a" * 12) / "40.state",
        root / "trunks" / ("b" * 12) / "20.state",
        root / "corpora" / ("c" * 12) / "train.bin",
        root / "runs" / digest(results.spec(8)) / "state" / "000000060.state",
        root / "runs" / f".{'d' * 12}.1234{removal.SUFFIX}" / "run.json",
    ]
    for path in [*used, *gone]:
        put(path)
    unused = root / "runs" / digest(results.spec(16, 0.003))
    before = tree(root)
    code, out, _ = scalelab("runs", "prune", "--root", root, "--unused")
    assert code == 0
    assert "would remove 1 run, 1 resume state, 2 trunk states, 1 corpus, 1 remains" in out
    assert tree(root) == before, "nothing goes without --yes"

    lost = {path.relative_to(root).as_posix() for path in gone}
    lost |= {name for name in before if name.startswith(f"runs/{unused.name}/")}
    freed = sum((root / name).stat().st_size for name in lost)
    code, out, _ = scalelab("runs", "prune", "--root", root, "--unused", "--yes")
    assert code == 0
    assert tree(root) == before - lost
    assert f"{freed / 1000:.1f} kB" in out
    assert scalelab("runs", "prune", "--root", root, "--unused")[1] == "nothing to remove\n"


def test_a_choice_takes_the_runs_chosen_and_warns_of_their_studies(
    scalelab: Call, results: Results
) -> None:
    put(results.root / "corpora" / ("c" * 12) / "train.bin")
    words = ["runs", "prune", "--root", results.root, "--where", "width<=16"]
    _, out, _ = scalelab(*words)
    assert "used by pair, sizes" in out
    assert "2 of them are used by studies that would train them again" in out
    assert scalelab(*words, "--yes")[0] == 0
    left = {path.name for path in (results.root / "runs").glob("[0-9a-f]*")}
    assert left == {digest(results.spec(width)) for width in (24, 32, 48)}
    assert (results.root / "corpora" / ("c" * 12)).exists()
    # --unused beside a condition: both hold.
    assert (
        scalelab(*words[:4], "--unused", "--where", "N>1", "--yes")[1] == "removed nothing, 0 B\n"
    )


def test_age_is_that_of_the_newest_file(scalelab: Call, results: Results) -> None:
    folder = results.root / "runs" / digest(results.spec(16, 0.003))
    old = time.time() - 10 * removal.DAY
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (old, old))
    words = ["runs", "prune", "--root", results.root, "--unused", "--older-than"]
    assert "1 run" in scalelab(*words, 9)[1]
    assert scalelab(*words, 11)[1] == "nothing to remove\n"
    os.utime(folder / "run.json")
    assert scalelab(*words, 9)[1] == "nothing to remove\n"


def test_the_corpus_of_a_run_that_stays_stays(scalelab: Call, results: Results) -> None:
    for study in ("sizes", "pair"):
        shutil.rmtree(results.root / study)
    corpus = results.root / "corpora" / "0123456789ab"  # that of all runs
    put(corpus / "train.bin")
    old = time.time() - 10 * removal.DAY
    for path in (corpus, corpus / "train.bin"):
        os.utime(path, (old, old))
    words = ["runs", "prune", "--root", results.root, "--unused"]
    assert scalelab(*words, "--older-than", 9)[1] == "nothing to remove\n"
    assert "6 runs, 1 corpus" in scalelab(*words)[1]


@pytest.mark.parametrize("which", ["workflow", "run"])
def test_nothing_goes_while_a_process_is_at_work(
    scalelab: Call, results: Results, which: str
) -> None:
    name = digest(results.spec(16, 0.003))
    path = results.root / (".workflow.lock" if which == "workflow" else f"runs/.locks/{name}.lock")
    path.parent.mkdir(exist_ok=True)
    before = tree(results.root)
    with FileLock(path):
        code, out, err = scalelab("runs", "prune", "--root", results.root, "--unused", "--yes")
    assert (code, out) == (2, "")
    assert "at work" in err
    assert tree(results.root) == before
    assert scalelab("runs", "prune", "--root", results.root, "--unused", "--yes")[0] == 0


def test_a_kill_in_the_middle_leaves_no_half_run(
    scalelab: Call, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.rmtree

    def killed(path: Path, **_: object) -> None:
        next(path.rglob("*.safetensors")).unlink()  # part of it is gone
        raise KeyboardInterrupt

    monkeypatch.setattr(removal.shutil, "rmtree", killed)
    words = ["runs", "prune", "--root", results.root, "--unused"]
    with pytest.raises(KeyboardInterrupt):
        scalelab(*words, "--yes")
    name = digest(results.spec(16, 0.003))
    assert not (results.root / "runs" / name).exists()
    _, out, _ = scalelab("runs", "list", "--root", results.root)
    assert name not in out
    monkeypatch.setattr(removal.shutil, "rmtree", real)
    assert "1 remains" in scalelab(*words)[1]
    assert scalelab(*words, "--yes")[0] == 0
    assert not list((results.root / "runs").glob(f".*{removal.SUFFIX}"))
