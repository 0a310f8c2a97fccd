"""The image and the file of exact versions that is beside the environment: they say the same."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("storage", "kubernetes")


def pins(name: str) -> dict[str, str]:
    """Version by package of a file that holds exact ones only."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(str(one.specifier).startswith("==") for one in found)
    return {_normal(one.name): str(one.specifier)[2:] for one in found}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def instructions() -> list[str]:
    """Those of the Containerfile, each in one line, without comments."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def test_the_image_installs_exact_versions_alone() -> None:
    for line in instructions():
        for command in line.removeprefix("RUN ").split(" && "):
            if "pip install" in command or "pip download" in command:
                named = re.findall(r"-r (\S+)", command) + re.findall(r"==' (\S+\.lock)", command)
                own = command.split()[-1] == "."
                assert own or named, f"{command}: expected a file of exact versions"
                assert {*named} <= {"requirements.lock", "requirements-cloud.lock"}
    whole = "\n".join(instructions())
    assert "-r requirements.lock" in whole and "--no-deps -r requirements-cloud.lock" in whole


def test_the_image_copies_what_is_there_and_runs_without_rights() -> None:
    lines = instructions()
    assert lines[0].startswith("FROM python:3.") and lines[0].endswith("-slim")
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 1000"] and lines.index(users[0]) > lines.index(
        "RUN pip install --no-build-isolation ."
    )


def test_the_versions_beside_the_environment_are_those_of_the_extras() -> None:
    beside, locked = pins("requirements-cloud.lock"), pins("requirements.lock")
    assert not beside.keys() & locked.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in EXTRAS:
        for text in project["optional-dependencies"][extra]:
            wanted = Requirement(text)
            assert wanted.specifier.contains(beside[_normal(wanted.name)]), text


def test_the_profile_sets_what_the_default_one_sets() -> None:
    read = YAML(typ="safe", pure=True).load
    default, profile = (
        read((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))
        for name in ("default", "kubernetes")
    )
    assert default.items() <= profile.items()
    assert profile["default-resources"]["scale"] == 0, "GPUs are given under a limit alone"
