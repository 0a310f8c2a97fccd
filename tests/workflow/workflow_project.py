"""A copy of the project in a folder of its own, with a micro study to run there for real."""

import contextlib
import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUDY = "micro.yaml"
PATIENCE = 900  # seconds until a hanging workflow is ended, on a machine that has other work too
PARTS = ("Snakefile", "workflow", "profiles", "config", "scalelab", "environment.yml")
WIDTHS = [8, 12, 16, 24, 32]
TEXT_FILES = 120

PLUGINS = ROOT / ".cloud"
"""Where continuous integration puts requirements-cloud.lock: beside the environment, since every
plugin that Snakemake finds costs time at every start."""
CLOUD = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH")]))
"""PYTHONPATH of a workflow that needs them."""


def has(module: str) -> bool:
    """Whether a module is there for such a workflow."""
    return (PLUGINS / module).is_dir() or importlib.util.find_spec(module) is not None


def micro_study(**changes: Any) -> dict[str, Any]:
    """Five widths on small source files; `changes` replaces keys of the sections, or sections."""
    study: dict[str, Any] = {
        "study": "micro",
        "seed": 7,
        "corpus": {
            "source": "files",
            "paths": ["text/*.py"],
            "tokenizer": "bytes",
            "test_tokens": 20_000,
            "tuning_tokens": 5_000,
        },
        "model": {"family": "gpt2", "depth": 1, "heads": 2, "context": 32},
        "ladder": {"widths": WIDTHS},
        # auto would measure which precision is the quicker one, anew in each process.
        "training": {"tokens": 60_000, "batch_tokens": 256, "lr": 1e-2, "precision": "fp32"},
    }
    for key, value in changes.items():
        old = study.get(key)
        study[key] = old | value if isinstance(old, dict) and isinstance(value, dict) else value
    return study


@dataclass(frozen=True)
class Project:
    """A project folder in which snakemake is called as a user would, with no --snakefile."""

    root: Path
    python: str = sys.executable
    """The interpreter that runs snakemake."""

    @classmethod
    def create(cls, root: Path, **changes: Any) -> "Project":
        """The files of this tree, the text and the micro study, with no result yet."""
        root.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / part)
        copy_text(root / "text")
        project = cls(root)
        project.write(**changes)
        return project

    def copy(self, to: Path) -> "Project":
        """The whole folder elsewhere, links and the memory of Snakemake included."""
        shutil.copytree(self.root, to, symlinks=True)
        return Project(to)

    def write(self, name: str = STUDY, **changes: Any) -> None:
        """Write the study file; JSON is YAML."""
        text = json.dumps(micro_study(**changes), indent=1)
        (self.root / name).write_text(text, encoding="utf-8")

    def command(self, *words: str, study: str | None = STUDY) -> list[str]:
        """The documented command."""
        configured = ["--configfile", study] if study else []
        return [self.python, "-m", "snakemake", "--cores", "2", *configured, *words]

    def start(
        self, *words: str, study: str | None = STUDY, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start the workflow in a process group of its own; its output goes to run.log."""
        with open(self.root / "run.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                self.command(*words, study=study),
                cwd=self.root,
                env={**environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                # A background shell, such as that of some CI systems, passes on an ignored Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def snakemake(
        self, *words: str, study: str | None = STUDY, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run the workflow to its end."""
        return subprocess.run(
            self.command(*words, study=study),
            cwd=self.root,
            env={**environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )

    def complete(self, *words: str, study: str | None = STUDY) -> str:
        """Run the workflow and demand success; gives its output."""
        done = self.snakemake(*words, study=study)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def jobs(self, *words: str, study: str | None = STUDY) -> dict[str, int]:
        """How often each rule would run; empty when there is nothing to be done."""
        return job_counts(self.complete("--dry-run", *words, study=study))

    def rows(self, study: str = "micro") -> list[dict[str, str]]:
        """runs.csv as text."""
        path = self.root / "results" / study / "runs.csv"
        with open(path, encoding="utf-8", newline="") as table:
            return list(csv.DictReader(table))

    def json(self, path: str) -> Any:
        """A JSON file below results."""
        return json.loads((self.root / "results" / path).read_text(encoding="utf-8"))

    def runs_in_training(self) -> list[str]:
        """Runs that a process holds or held, and that are not complete."""
        folder = self.root / "results" / "runs"
        names = [path.stem for path in folder.glob(".locks/*.lock")]
        return [name for name in names if not (folder / name / "run.json").exists()]

    def processes(self) -> list[int]:
        """Processes at work in this folder (empty where /proc does not tell)."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(link)) == self.root.resolve():
                    found.append(int(link.parent.name))
        return found

    def end(self, process: "subprocess.Popen[str]") -> None:
        """End a workflow and whatever it has left at work in this folder."""
        for pid in [process.pid, *self.processes()]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Finished:
    """The micro study after its run. Not to be changed: a test that writes takes a copy."""

    project: Project
    output: str
    """What the workflow printed."""
    second: "subprocess.CompletedProcess[str]"
    """A second call in the same folder, made while the first one was training."""
    strangers: list[str]
    """Which of the false programs, first in PATH, were called."""


def own_interpreter(root: Path) -> str:
    """The interpreter of an environment in `root` that holds what that of the tests holds."""
    folder = root / ".venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    if sys.prefix != sys.base_prefix:
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
        (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    return str(python)


def environment() -> dict[str, str]:
    """What a fresh shell has: no profile, tracker mode, device or threads from elsewhere."""
    foreign = ("WANDB_", "SCALELAB_", "SNAKEMAKE_", "OMP_")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def copy_text(folder: Path) -> None:
    """Small files of the standard library: text that models of this size can learn."""
    library = Path(sysconfig.get_paths()["stdlib"])
    packages = ("email", "json", "logging", "http", "urllib", "importlib", "concurrent", "xml")
    sources = [library, *(library / name for name in packages)]
    files = [path for source in sources for path in sorted(source.glob("*.py"))]
    chosen = [path for path in files if 2_000 < path.stat().st_size < 14_000][:TEXT_FILES]
    folder.mkdir()
    for path in chosen:
        name = "_".join(path.relative_to(library).parts)
        (folder / name).write_bytes(path.read_bytes())


def job_counts(output: str) -> dict[str, int]:
    """The table `Job stats` of a workflow's output, without `all` and the total."""
    if "Nothing to be done" in output:
        return {}
    table = output.split("Job stats:", 1)[1].split("\n\n", 1)[0]
    counts = {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    assert counts, output
    return {name: number for name, number in counts.items() if name not in ("all", "total")}


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> Any:
    """The first true value of `condition`; fails when `process` ends before."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        assert process is None or process.poll() is None, "the workflow ended too early"
        time.sleep(0.05)
    raise AssertionError("waited in vain")
