import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.config import CorpusConfig, load
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.plan import data


class Fake:
    """An installed distribution, as much of it as the fingerprint reads."""

    def __init__(self, version: str, *requires: str) -> None:
        lines = ["Metadata-Version: 2.1", f"Version: {version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        self.text = "\n".join([*lines, "", "Requires-Dist: not-a-header", "Version: 0"])

    def read_text(self, name: str) -> str | None:
        return self.text if name == "METADATA" else None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    found: dict[str, Fake] = {}

    def distribution(name: str) -> Fake:
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    return found


def test_closure_follows_markers_and_requested_extras_only(installed: dict[str, Fake]) -> None:
    installed.update(
        scalelab=Fake(
            "0.1",
            "torch",
            "Web_Lib[http]>=1",
            "odd; python_version < '3'",
            "pytest; extra == 'dev'",
        ),
        torch=Fake("2.0", "sympy"),
        sympy=Fake("1.0", "torch"),
        pytest=Fake("9"),
        odd=Fake("1"),
        socks=Fake("4"),
        ssh=Fake("5"),
    )
    installed["web-lib"] = Fake("3.0", "socks; extra == 'http'", "ssh; extra == 'ssh'")
    assert data.runtime_closure() == {
        "socks": "4",
        "sympy": "1.0",
        "torch": "2.0",
        "web-lib": "3.0",
    }


def test_closure_falls_back_when_not_installed(installed: dict[str, Fake]) -> None:
    installed.update(torch=Fake("2.0", "sympy"), sympy=Fake("1.0"), pytest=Fake("9"))
    assert data.runtime_closure() == {"sympy": "1.0", "torch": "2.0"}


def test_development_tools_do_not_change_the_fingerprint(installed: dict[str, Fake]) -> None:
    installed.update(scalelab=Fake("0.1", "torch", "ruff; extra == 'dev'"), torch=Fake("2.0"))
    before = data.fingerprint(CorpusConfig())
    installed["ruff"] = Fake("1.0")
    assert data.fingerprint(CorpusConfig()) == before


def test_fingerprint_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from scalelab.config import CorpusConfig; from scalelab.plan.data import "
        "fingerprint; found = fingerprint(CorpusConfig(packages=('stdlib', 'numpy'))); "
        "assert set(found['packages']) == {'stdlib', 'numpy'}, found; "
        "assert not {'torch', 'numpy', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_package_is_named() -> None:
    with pytest.raises(UserError, match="'no-such-package' is not installed"):
        data.fingerprint(CorpusConfig(packages=("no-such-package",)))


def test_files_are_sorted_and_described_once(folder: Path) -> None:
    for name in ("b.txt", "a.md"):
        (folder / name).write_bytes(b"text")
    config = CorpusConfig(source="files", paths=("b.txt", "*.md", "*.txt"))
    found = data.fingerprint(config)["files"]
    assert [entry["name"] for entry in found] == ["a.md", "b.txt"]
    assert found[0]["bytes"] == 4
    assert found[0]["sha256"].startswith("982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead6")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.txt", "no such file"),
        ("*.md", "matches no file"),
        ("empty.txt", "is empty"),
        ("folder", "is a folder"),
        ("image.png", "expected a file that ends in"),
        ("rows.jsonl.lz4", "expected a file that ends in"),
        ("foreign-*.txt", r"found 'foreign-\\udcff\.txt', a name that is not UTF-8"),
    ],
)
def test_bad_paths(folder: Path, path: str, message: str) -> None:
    """Case T21, among others: a kind of file that is not read."""
    (folder / "empty.txt").write_bytes(b"")
    (folder / os.fsdecode(b"foreign-\xff.txt")).write_bytes(b"x")
    for name in ("image.png", "rows.jsonl.lz4"):
        (folder / name).write_bytes(b"x")
    (folder / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        data.fingerprint(CorpusConfig(source="files", paths=(path,)))


def test_files_needs_paths() -> None:
    with pytest.raises(UserError, match=r"corpus\.paths: empty"):
        data.fingerprint(CorpusConfig(source="files"))


def test_the_default_corpus_keeps_the_name_it_had_before_keys_were_added():
    quickstart = load(Path(__file__).parents[3] / "config" / "quickstart.yaml").corpus
    assert digest(data.settings(quickstart)) == "5148f14797d1"
    assert "synthetic" not in data.settings(quickstart)
