"""The parts that the documentation shows how to add: as printed, in a copy of the package.

Each block of Python is written to the file that the text above it names. Then every command of the
pages is called there, and what they say of study files is planned.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import EXTENSIONS, ROOT, blocks, commands, spans

pytestmark = pytest.mark.slow
DRIVER = """
import json, sys
from scalelab.cli import main
for words in json.loads(sys.argv[1]):
    if code := main(words):
        sys.exit(f"exit code {code}: {words}")
"""
STUDY = """\
study: extended
corpus: {source: files, paths: ["texts/*.txt"], tokenizer: bytes}
ladder: {widths: [8, 16, 32]}
"""


def call(folder: Path, *words: str) -> str:
    """Run python on the package in this folder; what it printed."""
    found = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=found, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def extended(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The furnished folder with a package of its own, and in it what the pages add."""
    folder = tmp_path_factory.mktemp("extended") / "desk"
    shutil.copytree(furnished, folder, symlinks=True)
    for name in ("scalelab", "tests"):
        (folder / name).unlink()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    for page in EXTENSIONS:
        for block in blocks(page):
            if block.language == "python":
                assert block.file, f"{page}, line {block.line}: which file is this?"
                assert not (folder / block.file).exists(), f"{block.file} is there already"
                (folder / block.file).write_text(block.text, encoding="utf-8")
    (folder / "run.mine").write_text("", encoding="utf-8")
    return folder


def test_the_commands_of_these_pages(extended: Path) -> None:
    """The order is that of the pages, but a table that is imported comes last: it is `runs.csv`."""
    called, left = [], set()
    for command in [one for page in EXTENSIONS for one in commands(page)]:
        words = command.words
        if words[0] == "scalelab" and len(words) > 2:
            called.append(words[1:])
        else:
            left.add(" ".join(words))
    called.sort(key=lambda words: words[0] == "import")
    assert [words[0] for words in called] == ["fit", "fit", "compare", "import"]
    assert left == {
        "python -m scalelab.plan.describe > config/README.md",  # tests/unit/plan compares the two
        "python -m pytest tests/unit/models",  # below, for the new family
        "snakemake --report",  # mentions
        "scalelab fit",
    }
    call(extended, "-c", DRIVER, json.dumps(called))
    answers = json.loads((extended / "laws.json").read_text(encoding="utf-8"))["answers"]
    assert answers[0]["answer"] == "least" and answers[0]["loss"] > 0


def test_the_family_passes_the_tests_of_families(extended: Path) -> None:
    words = ["-q", "-p", "no:cacheprovider", "tests/unit/models/test_models_families.py"]
    out = call(extended, "-m", "pytest", *words, "-k", "gpt2_relu")
    assert re.search(r"\d+ passed", out), out


def test_the_lines_for_study_files_can_be_planned(extended: Path) -> None:
    """Every `key: value` of these pages, one study a line."""
    keys = r"(corpus|model|design|fits|axes): [\[{]"
    lines = [text for page in EXTENSIONS for _, text in spans(page) if re.match(keys, text)]
    assert len(lines) >= 4
    plans = []
    for number, line in enumerate(lines):
        name = f"study{number}.yaml"
        # The source that is only a skeleton in the page cannot be read, so it is not planned.
        if not line.startswith("corpus: "):
            text = STUDY + "training: {tokens: 60k}\n" + line + "\n"
            (extended / name).write_text(text, encoding="utf-8")
            plans.append(["plan", name, "--no-time"])
    call(extended, "-c", DRIVER, json.dumps(plans))
    code = "from scalelab.corpus.sources import get_source; print(get_source('mine'))"
    assert "mine" in call(extended, "-c", code)


def test_the_figure_is_a_kind(extended: Path) -> None:
    code = "from scalelab.figures import kinds; print(kinds()['bits_and_time'].title)"
    assert call(extended, "-c", code).strip()
