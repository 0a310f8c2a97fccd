"""A study file is data: what would make objects of it, or run code, is refused in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from scalelab import config
from scalelab.errors import UserError

GOOD = "study: good\ntraining:\n  tokens: 100000\n"
TAGS = [
    '!!python/object/apply:os.system ["touch here"]',
    "!!python/name:os.system",
    "!!python/object/new:subprocess.Popen [[touch, here]]",
    "!!binary aGVsbG8=",
    "!mine {a: 1}",
    "!mine word",
]


def sentence(folder: Path, text: str) -> str:
    """What a file is refused with, in a folder where nothing else may appear."""
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        config.load(path)
    assert [*folder.iterdir()] == [path]
    told = str(caught.value)
    assert "\n" not in told
    return told.removeprefix(f"{folder}/")


@pytest.mark.parametrize("value", TAGS)
@pytest.mark.parametrize("place", ["description: ", "corpus:\n  paths: ", "axes:\n  "])
def test_a_tag_is_one_sentence_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = sentence(tmp_path, f"{GOOD}{place}{value}\n")
    line = 4 + place.count("\n")
    assert told.startswith(f"study.yaml, line {line}: found the tag '")
    assert told.endswith("', expected plain YAML")


def test_a_key_that_runs_code_in_snakemake_is_refused(tmp_path: Path) -> None:
    told = sentence(tmp_path, f"{GOOD}__use_yte__: true\ndescription: ?open('here', 'w')\n")
    assert told.startswith("study.yaml, line 4: found '__use_yte__', with which Snakemake")


@pytest.mark.parametrize("text", ["corpus: &a {paths: [*a]}", "axes: &a\n  - [[*a]]"])
def test_a_value_that_holds_itself_is_refused(tmp_path: Path, text: str) -> None:
    assert "found a value that holds itself" in sentence(tmp_path, f"{GOOD}{text}\n")


def test_values_may_be_named_and_used_again(tmp_path: Path) -> None:
    text = f"{GOOD}  lr: &rate 1e-3\n  weight_decay: *rate\nladder: {{widths: [8]}}\n"
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    assert config.load(path).training.weight_decay == 1e-3


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (GOOD, 0, ""),
        (f"{GOOD}__use_yte__: true\n", 2, "found '__use_yte__'"),
        ("study: [bad\n", 2, "line 2: not valid YAML"),
        (None, 2, "no such study file"),
    ],
    ids=["plain", "template", "no yaml", "missing"],
)
def test_a_file_can_be_looked_at_before_snakemake_reads_it(
    tmp_path: Path, text: str | None, code: int, told: str
) -> None:
    """What `make run STUDY=FILE` does first."""
    path = tmp_path / "it's $(a) study.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "scalelab.config", str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == code
    assert told in done.stderr and done.stderr.count("\n") == (1 if code else 0)
