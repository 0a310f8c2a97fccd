"""What the tests of trackers share: the verb, W&B's own reader, stands for its library and CLI."""

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.cli import main
from scalelab.files import read_json, write_json

KEY = "local-0123456789abcdef0123456789abcdef01234567"

FALSE_CLI = '''
"""Stands for `python -m wandb sync FOLDER`: a server that keeps runs by their id, and counts."""
import os, shutil, signal, sys
from pathlib import Path

server, folder = Path(os.environ["FALSE_SERVER"]), Path(sys.argv[-1])
assert sys.argv[1] == "sync", sys.argv
(log,) = folder.glob("*.wandb")
with open(server / "calls", "a") as calls:
    calls.write(log.stem.removeprefix("run-") + "\\n")
if (server / "refuses").exists():
    sys.exit("api_key not configured (no-tty). call wandb login [your_api_key]")
if (server / "says no").exists():
    print("wandb: ERROR permission denied", file=sys.stderr)
    sys.exit(0)  # as the real one does at 401 and 403
print("wandb: Syncing: https://wandb.example/us/p/runs/" + log.stem.removeprefix("run-"))
shutil.copy(log, server / log.name)  # the same id replaces what was there
if (server / "dies").exists():
    os.kill(os.getppid(), signal.SIGKILL)  # the kill comes before the mark
    sys.exit(1)
log.with_suffix(".wandb.synced").touch()
if (server / "kills").exists():
    os.kill(os.getppid(), signal.SIGKILL)  # the kill comes between the upload and our note
'''


class Copy:
    """Stands for a run of the library: an offline folder, and what was logged into it."""

    def __init__(self, made: list["Copy"], **settings: Any) -> None:
        self.settings, self.lines, self.summary = settings, [], {}  # type: ignore[var-annotated]
        self.steps: list[int] = []
        name = f"offline-run-{len(made)}-{settings['id']}"
        self.dir = str(Path(settings["dir"]) / "wandb" / name / "files")
        Path(self.dir).mkdir(parents=True)
        made.append(self)

    def __enter__(self) -> "Copy":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def define_metric(self, *_: Any, **__: Any) -> None:
        """Nothing is drawn."""

    def log(self, line: dict[str, Any], step: int) -> None:
        """Keep a line."""
        self.lines.append(line)
        self.steps.append(step)


def stub(monkeypatch: pytest.MonkeyPatch, init: Callable[..., Any]) -> None:
    """Put a library whose `init` is that function in W&B's place."""
    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="wandb")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "wandb", module)


def false_cli(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Put a false `wandb` before the real one for new processes; the folder of its server."""
    package, server = folder / "cli" / "wandb", folder / "server"
    package.mkdir(parents=True)
    server.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(FALSE_CLI)
    path = os.pathsep.join([str(package.parent), *sys.path])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FALSE_SERVER", str(server))
    return server


def calls(server: Path) -> list[str]:
    """Ids of the runs that were sent, in order, once a call."""
    return (server / "calls").read_text().split() if (server / "calls").exists() else []


def write_plan(root: Path, identities: list[str]) -> None:
    """A plan of some runs, in the folder of the study and beside it."""
    runs = [{"id": name, "label": f"d{8 + 8 * i}-s1"} for i, name in enumerate(identities)]
    plan = {
        "study": "tiny",
        "evaluation_id": "e",
        "design": {"kind": "ladder"},
        "corpora": {},
        "runs": runs,
    }
    write_json(root / "plan.json", plan)


def several(root: Path, trained_id: str, count: int = 3) -> list[str]:
    """The evaluated run and copies of it."""
    names = [trained_id, *(f"{number:012x}" for number in range(1, count))]
    for name in names[1:]:
        folder = root / "runs" / name
        shutil.copytree(root / "runs" / trained_id, folder)
        for file, key in (("run.json", "id"), ("eval/e.json", "run")):
            write_json(folder / file, {**read_json(folder / file), key: name})
    write_plan(root, names)
    return names


def track(root: Path, *more: str) -> dict[str, Any]:
    """Run the verb and return what it says it did."""
    line = ["track", "--plan", str(root / "plan.json"), "--runs-root", str(root / "runs")]
    line += ["--folder", str(root / "tiny"), "--out", str(root / "tracking.json"), *more]
    assert main(line) == 0
    return read_json(root / "tracking.json")  # type: ignore[no-any-return]


def records(file: Path) -> list[dict[str, Any]]:
    """What W&B's own reader finds in a log."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(reader, capture_output=True, text=True, check=True, env=clean)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The records of a kind."""
    return [item[kind] for item in found if item["type"] == kind]


def logged(root: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a run that `track` says it wrote."""
    (file,) = (root / "tiny" / "wandb" / row["folder"]).glob("*.wandb")
    return records(file)


def steps(found: list[dict[str, Any]]) -> list[int]:
    """The steps of a log's history."""
    return [item["item"]["_step"] for item in of_kind(found, "history")]
