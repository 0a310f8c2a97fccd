"""Set-up: `make` in odd folders, with an old Python, a second time; what git and CI see."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`make` as a person starts it: without the options of a make that runs these tests."""
    inherited = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "ARGS", "STUDY"}
    clean = {key: value for key, value in os.environ.items() if key not in inherited}
    clean["LC_ALL"] = "C"
    return subprocess.run(
        ["make", *words], cwd=folder, env=clean, capture_output=True, text=True, timeout=60
    )


def set_up_tree(folder: Path) -> Path:
    """A tree with the Makefile and what it looks at, and a set-up that is done."""
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (1, 1))
    (folder / ".venv/.ready").write_text(f"{folder.resolve()}\n", encoding="utf-8")
    return folder


def test_git_ignores_results_but_not_their_readme(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    names = [
        "results/README.md",
        "results/quickstart/runs.csv",
        "results/runs/0123456789ab/checkpoint/model.safetensors",
        ".venv/bin/python",
        ".snakemake/log/one.log",
        "wandb/offline-run/run.wandb",
        "scalelab.egg-info/PKG-INFO",
        "scalelab/__pycache__/cli.cpython-311.pyc",
        "config/quickstart.yaml",
        "scalelab/report/page.html",
    ]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", *names], cwd=tmp_path, capture_output=True, text=True
    )
    assert set(names) - set(done.stdout.split()) == {
        "results/README.md",
        "config/quickstart.yaml",
        "scalelab/report/page.html",
    }


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert declared
    shown = run_make(ROOT, "help").stdout
    for target in set(declared[1].split()) - {"moved"}:
        assert re.search(rf"make {target} +\w", shown), f"make help does not show {target}"


def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = set_up_tree(tmp_path / 'it\'s a "tree"')
    (folder / ".venv/.ready").unlink()
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2'\n", encoding="utf-8")
    old.chmod(0o755)
    done = run_make(folder, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    first, *rest = done.stderr.strip().splitlines()
    assert first.startswith("scalelab needs Python 3.11 or newer and found 'Python 3.9.2':")
    assert len(rest) == 1 and rest[0].startswith("make: ***")


def test_a_second_set_up_costs_nothing(tmp_path: Path) -> None:
    folder = set_up_tree(tmp_path / 'it\'s a "tree"')
    assert run_make(folder, "--question", "setup").returncode == 0


def test_a_study_is_looked_at_before_snakemake_reads_it(tmp_path: Path) -> None:
    """Snakemake takes a file with a certain key for a program."""
    folder = set_up_tree(tmp_path / 'it\'s a "tree"')
    python = folder / ".venv/bin/python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\nprintf "%s|" "$@" >> called\necho >> called\n'
        'case "$*" in *scalelab.config*bad*) exit 2;; esac\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    called = folder / "called"
    for study, expected in (
        ("$(a) bad.yaml", ["-m|scalelab.config|$(a) bad.yaml|"]),
        (
            "x y.yaml",
            ["-m|scalelab.config|x y.yaml|", "-m|snakemake|--cores|all|--configfile|x y.y"],
        ),
        ("", ["-m|snakemake|--cores|all|"]),
    ):
        called.write_text("", encoding="utf-8")
        done = run_make(folder, "run", *([f"STUDY={study.replace('$', '$$')}"] if study else []))
        lines = called.read_text(encoding="utf-8").splitlines()[-len(expected) :]
        assert all(map(str.startswith, lines, expected)), (lines, done.stderr)
        assert done.returncode == (2 if "bad" in study else 0)
        assert len(lines) == len(expected)


def test_new_pins_or_another_folder_set_up_again(tmp_path: Path) -> None:
    folder = set_up_tree(tmp_path / "one")
    moved = folder.rename(tmp_path / "two")
    assert run_make(moved, "--question", "setup").returncode == 1
    again = set_up_tree(tmp_path / "three")
    os.utime(again / "requirements.lock", (2e9, 2e9))
    assert run_make(again, "--question", "setup").returncode == 1


def test_continuous_integration_runs_what_developers_run() -> None:
    script = ROOT / ".ci/run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines and "make test" in lines
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
