"""Files that were damaged after they were written: named and refused by whatever reads them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.cli import main
from scalelab.sums import sealed
from scalelab.training import run

Spec = Callable[..., dict[str, Any]]
EVALUATION = {"split": "test", "context": 32, "stride": 32}


def flipped(path: Path) -> None:
    """Change one bit in the middle of a file, as a disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Take the last quarter of a file away."""
    data = path.read_bytes()
    path.write_bytes(data[: 3 * len(data) // 4])


@pytest.fixture(scope="module")
def finished(
    spec: Spec, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A corpus and a finished run on it."""
    root = tmp_path_factory.mktemp("finished")
    shutil.copytree(corpus_folder, root / "corpus")
    settings = spec(steps=5)
    words = ["--spec", json.dumps(settings), "--corpus", str(root / "corpus")]
    assert main(["train", *words, "--out", str(root / "run")]) == 0
    return {"root": root, "train": words}


@pytest.mark.parametrize("harm", [flipped, cut])
@pytest.mark.parametrize(
    "name",
    [
        *("corpus/train.bin", "corpus/test.bin", "corpus/tokenizer.json", "corpus/test.docs.json"),
        *("run/checkpoint/model.safetensors", "run/checkpoint/config.json"),
        "run/checkpoint/tokenizer.json",
    ],
)
def test_a_damaged_file_is_named_before_it_is_used(
    finished: dict[str, Any],
    tmp_path: Path,
    name: str,
    harm: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for part in ("corpus", "run"):
        shutil.copytree(finished["root"] / part, tmp_path / part)
    harm(tmp_path / name)
    verbs = {
        "evaluate": EVALUATION,
        "measure": {"measure": "calibration", "split": "test", "windows": 20, "seed": 1},
    }
    capsys.readouterr()
    for verb, settings in verbs.items():
        words = ["--run", str(tmp_path / "run"), "--corpus", str(tmp_path / "corpus")]
        out = tmp_path / f"{verb}.json"
        assert main([verb, *words, "--settings", json.dumps(settings), "--out", str(out)]) == 2
        [told] = capsys.readouterr().err.splitlines()
        assert str(tmp_path / name).removesuffix(".json") in told
        assert not out.exists()


def test_a_run_is_not_trained_on_a_damaged_corpus(
    finished: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = shutil.copytree(finished["root"] / "corpus", tmp_path / "corpus")
    flipped(corpus / "train.bin")
    spec = finished["train"][1]
    words = ["--spec", spec, "--corpus", str(corpus), "--out", str(tmp_path / "run")]
    assert main(["train", *words]) == 2
    told = capsys.readouterr().err
    assert f"{corpus / 'train.bin'}: damaged or changed since it was written" in told
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_corpus_that_is_removed_in_the_middle_is_named(
    finished: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = shutil.copytree(finished["root"] / "corpus", tmp_path / "corpus")
    write = run.write_metrics

    def removed(*words: Any) -> None:
        shutil.rmtree(corpus)
        write(*words)

    monkeypatch.setattr(run, "write_metrics", removed)
    spec = finished["train"][1]
    words = ["--spec", spec, "--corpus", str(corpus), "--out", str(tmp_path / "run")]
    assert main(["train", *words]) == 2
    assert f"{corpus / 'tokenizer.json'}: is gone" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "checkpoint").exists()


def table(folder: Path) -> tuple[Path, Path]:
    """runs.csv and laws.json of a study, as the workflow writes them."""
    rows = ["id,label,N,D,loss_nats,status"]
    rows += [
        f"r{n},d{n},{n},{20 * n},{2 + 40 * n**-0.3:.6f},ok" for n in (1000, 4000, 16000, 64000)
    ]
    runs, laws = folder / "runs.csv", folder / "laws.json"
    with sealed(runs):
        runs.write_text("\n".join(rows) + "\n")
    fits = json.dumps([{"law": "power", "x": "N"}])
    assert main(["fit", str(runs), "--fits", fits, "--json", str(laws)]) == 0
    return runs, laws


@pytest.mark.parametrize("harm", [flipped, cut])
@pytest.mark.parametrize("name", ["runs.csv", "laws.json"])
def test_a_damaged_table_makes_no_law_figure_or_report(
    tmp_path: Path, name: str, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    runs, laws = table(tmp_path)
    harm(tmp_path / name)
    fits = json.dumps([{"law": "power", "x": "N"}])
    figures = ["figures", "--runs", str(runs), "--laws", str(laws), "--out", str(tmp_path / "f")]
    refused = [figures]
    if name == "runs.csv":
        refused.append(["fit", str(runs), "--fits", fits, "--json", str(tmp_path / "again.json")])
    capsys.readouterr()
    for words in refused:
        assert main(words) == 2
        [told] = capsys.readouterr().err.splitlines()
        assert f"{tmp_path / name}: damaged or changed since it was written" in told
        assert f"delete {name}.sha256 if the change is meant" in told
    assert not (tmp_path / "again.json").exists() and not (tmp_path / "f").exists()


def test_a_table_that_somebody_changed_is_taken_without_its_sum(tmp_path: Path) -> None:
    runs, _ = table(tmp_path)
    runs.write_text(runs.read_text().replace("d1000,", "smallest,"))
    assert main(["fit", str(runs), "--law", "power"]) == 2
    (tmp_path / "runs.csv.sha256").unlink()
    assert main(["fit", str(runs), "--law", "power"]) == 0


def test_the_sum_of_a_table_is_what_sha256sum_reads(tmp_path: Path) -> None:
    table(tmp_path)
    for name in ("runs.csv.sha256", "laws.json.sha256"):
        done = subprocess.run(["sha256sum", "-c", name], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0
