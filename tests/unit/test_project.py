"""The project's own rules: pins that agree, imports that run downward, small documented files."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import scalelab

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scalelab"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]

# A module may import from its own layer and from those to its left.
LAYERS = [
    "errors",
    "files",
    "logs",
    "sums",
    "config",
    "parsing",
    "provenance",
    "seeds",
    "plan",
    "corpus",
    "models",
    "training",
    "evaluation",
    "tracking",
    "laws",
    "library",
    "live",
    "advise",
    "figures",
    "report",
    "cli",
]
FREE = {"__init__", "__main__"}
UNLOCKED = ["cluster", "trackers", "tasks", "fp8", "storage", "kubernetes"]
LONGEST = 400  # lines

# What names a machine or the place where its packages came from.
HOSTS = r"pypi\.org|pythonhosted\.org|npmjs\.org|anaconda\.org|download\.pytorch\.org|debian\.org"
SOURCES = r"--(?:extra-)?index-url|--find-link[s]|file://[/]"
PATHS = r"(?<![\w.~}$)])/(?:root|tmp|work|opt|home/\w+|Users/\w+)/"
FORBIDDEN = re.compile(f"{HOSTS}|{SOURCES}|{PATHS}")
GENERATED = {".git", ".venv", ".lock", ".snakemake", "__pycache__", "wandb", "build"}


def read_pins(path: Path) -> dict[str, str]:
    """Versions by normalised name of a requirements file that holds exact pins only."""
    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if text:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", text)
            assert match, f"{path.name}: expected name==version, found {text!r}"
            name = canonicalize_name(match[1])
            assert name not in pins, f"{path.name}: {name} twice"
            pins[name] = match[2]
    return pins


def direct_requirements(locked: bool = True) -> list[Requirement]:
    """What pyproject.toml asks for, the development tools and the build included.

    locked: without the extras that nobody gets unasked.
    """
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = dict(data["project"]["optional-dependencies"])
    for name in UNLOCKED if locked else ():
        del extras[name]
    texts = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
    more = [item for extra in extras.values() for item in extra]
    return [Requirement(text) for text in [*texts, *more]]


def read_yaml(name: str) -> Any:
    """A YAML file at the root of the tree as plain data."""
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def environment() -> tuple[list[str], list[str]]:
    """The conda part and the pip part of environment.yml."""
    listed = read_yaml("environment.yml")["dependencies"]
    conda = [item for item in listed if isinstance(item, str)]
    pip = [text for item in listed if isinstance(item, dict) for text in item["pip"]]
    return conda, pip


def imported(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and layer of each import from scalelab, those inside functions included.

    `module` is the dotted name of the module that holds the source, a package's ending in
    `.__init__`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            if parts[0] == "scalelab" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


def upward_imports(source: str, module: str) -> list[str]:
    """A sentence for each import that runs against the order of the layers."""
    own = module.split(".")[1]
    if own in FREE:
        return []
    if own not in LAYERS:
        return [f"{module}: {own} has no place in the order of the layers"]
    return [
        f"{module}, line {line}: {own} imports {layer}"
        for line, layer in imported(source, module)
        if layer not in LAYERS or LAYERS.index(layer) > LAYERS.index(own)
    ]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def project_files() -> list[Path]:
    """Files that are or would be tracked; in a copy without git, all that is not generated."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        paths = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, folders, names in os.walk(ROOT):
            here = Path(folder)
            folders[:] = [
                name
                for name in folders
                if name not in GENERATED
                and not name.endswith(("_cache", ".egg-info"))
                and here / name != ROOT / ".hypothesis"
                and here != ROOT / "results"
            ]
            paths += [here / name for name in names]
    return sorted(path for path in paths if path.is_file())


# --- Versions -------------------------------------------------------------------------------------


def test_lock_holds_every_direct_dependency_at_a_version_that_is_asked_for() -> None:
    pins = read_pins(ROOT / "requirements.lock")
    wrong = [
        str(item)
        for item in direct_requirements()
        if not item.specifier.contains(pins.get(canonicalize_name(item.name), "0"))
        or canonicalize_name(item.name) not in pins
    ]
    assert not wrong, f"requirements.lock does not meet {wrong}"


def test_everything_imported_is_asked_for() -> None:
    asked = {canonicalize_name(item.name) for item in direct_requirements(locked=False)}
    homes = importlib.metadata.packages_distributions()
    missing = set()
    for path in [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                owners = {canonicalize_name(home) for home in homes.get(name, [])}
                if owners and not owners & {*asked, "scalelab"}:
                    missing.add(f"{path.relative_to(ROOT)}: {name}")
    assert not missing, f"not in pyproject.toml: {sorted(missing)}"


def test_direct_dependencies_say_why_they_are_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = {line.strip() for line in text.splitlines()}
    for item in direct_requirements(locked=False)[1:]:
        own = [line for line in lines if re.match(rf'"{re.escape(item.name)}\b', line)]
        assert own, f"pyproject.toml: {item.name} needs a line of its own"
        assert all(re.search(r"#\s+\w+", line) for line in own), f"{item.name}: why?"


def test_environment_has_the_versions_of_the_lock() -> None:
    pins = read_pins(ROOT / "requirements.lock")
    conda, pip = environment()
    assert "python=3.11" in conda
    listed = {}
    for text in pip:
        if not text.startswith("-"):
            name, version = text.split("==")
            listed[canonicalize_name(name)] = version
    assert listed == {name: pins[name] for name in listed}
    missing = {canonicalize_name(item.name) for item in direct_requirements()} - set(listed)
    assert not missing, f"environment.yml lacks {sorted(missing)}"


def test_environment_takes_everything_else_from_the_lock_too() -> None:
    assert "--constraint requirements.lock" in environment()[1]


def test_citation_and_changelog_know_the_version() -> None:
    citation = read_yaml("CITATION.cff")
    assert str(citation["version"]) == scalelab.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(scalelab.__version__)}\]", changes, re.MULTILINE)


# --- Structure ------------------------------------------------------------------------------------


def test_imports_run_downward() -> None:
    found = [
        sentence
        for path in MODULES
        for sentence in upward_imports(path.read_text(encoding="utf-8"), dotted(path))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from scalelab.models import build", "scalelab.plan.counts"),
        ("import scalelab.report.page", "scalelab.laws.forms.power"),
        ("from scalelab import training", "scalelab.models.registry"),
        ("from ..figures import style", "scalelab.laws.fitting"),
        ("from .. import cli", "scalelab.report.__init__"),
        ("def late():\n    from scalelab.cli import main", "scalelab.files"),
        ("import scalelab.helpers", "scalelab.plan.counts"),
        ("import json", "scalelab.helpers"),
    ],
)
def test_an_upward_import_is_found(source: str, module: str) -> None:
    assert len(upward_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from scalelab.errors import UserError", "scalelab.files"),
        ("from . import forms", "scalelab.laws.__init__"),
        ("from .forms import power", "scalelab.laws.estimation.estimate"),
        ("from ..config import load", "scalelab.plan.counts"),
        ("from scalelab import __version__", "scalelab.errors"),
        ("from scalelab.cli import main", "scalelab.__main__"),
    ],
)
def test_a_downward_import_passes(source: str, module: str) -> None:
    assert upward_imports(source, module) == []


@pytest.mark.parametrize(
    "name", ["config", "plan", "laws", "library", "live", "advise", "figures", "report", "cli"]
)
def test_planning_and_analysis_load_no_training_library(name: str) -> None:
    code = (
        f"import sys, scalelab.{name}\n"
        "print(*sorted({'torch', 'transformers', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_files_are_small_and_documented(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST, f"more than {LONGEST} lines: split by purpose"
    tree = ast.parse(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bare = [
        f"{node.name} (line {node.lineno})"
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    if tree.body and not ast.get_docstring(tree):
        bare.append("the module itself")
    assert not bare, f"no docstring: {', '.join(bare)}"


def test_no_file_names_a_machine_or_a_package_source() -> None:
    paths = project_files()
    assert Path(__file__).resolve() in paths
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}, line {number}: {match[0]}"
            for number, line in enumerate(lines, 1)
            if (match := FORBIDDEN.search(line))
        ]
    assert not found, "\n".join(found)
