"""What pages say beside commands: study files, Python, links, columns and formats."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import pytest
from documentation import EXTENSIONS, ROOT, blocks, pages, read, spans
from ruamel.yaml import YAML

from scalelab import config
from scalelab.evaluation.collect import row
from scalelab.files import write_json
from scalelab.library import importers
from scalelab.plan.runs import build

PAGES = [page for page in pages() if page.endswith(".md")]
OWN = [page for page in PAGES if page not in EXTENSIONS]
SECTIONS = "study|seed|design|axes|adaptive|fits|corpus|model|ladder|training|evaluation|figures"
KEYS = re.compile(rf"({SECTIONS}|compute|tracking): [\[{{]")
BASE = """\
study: base
ladder: {widths: [16, 32]}
training: {tokens: 2M}
"""


def as_study(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a study file, with what it does not say."""
    if "study" in part:
        return part
    base = YAML(typ="safe", pure=True).load(BASE)
    if part.get("design", {}).get("kind", "sweep") not in ("sweep", "ladder", "context", "shape"):
        del base["training"]  # the design says how many tokens
    return {**base, **part}


def parts(page: str) -> list[tuple[int, str]]:
    """Line and text of each study file, or part of one, on a page."""
    found = [(one.line, one.text) for one in blocks(page) if one.language in ("yaml", "yml")]
    return found + [(line, text) for line, text in spans(page) if KEYS.match(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if parts(page)])
def test_study_files_on_pages_are_study_files(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"value": 4e-3, "at": 1.5e5, "exponent": -0.4, "of": "N"}
    write_json(tmp_path / "lr-sweep" / "laws.json", {"answers": [{"axis": "lr", "rule": rule}]})
    monkeypatch.setattr("scalelab.config.swept.RESULTS", tmp_path)
    for line, text in parts(page):
        if page in EXTENSIONS and KEYS.match(text) and "\n" not in text:
            continue  # names what the page adds: test_docs_extensions.py plans it
        part = YAML(typ="safe", pure=True).load(text)
        study = config.parse(as_study(part), source=f"{page}, line {line}")
        if study.corpus.source in ("python", "docstrings"):
            build(study)


def test_python_on_pages_runs(desk: Path) -> None:
    """Blocks of a page run in order, in one namespace."""
    ran = 0
    for page in OWN:
        names: dict[str, Any] = {}
        for block in blocks(page):
            if block.language == "python":
                exec(compile(block.text, f"{page}, line {block.line}", "exec"), names)
                ran += 1
    assert ran >= 2


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_hold_in_the_repository(page: str) -> None:
    """Those between pages hold in the site too: its build checks them, anchors included."""
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    missing = []
    for target in re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = ROOT / (posixpath.join(posixpath.dirname(page), name) if name else page)
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            missing.append(target)
    assert not missing


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as repositories make them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {word.replace(" ", "-") for word in words}


def test_every_column_of_the_table_is_documented(furnished: Path) -> None:
    folder = next((furnished / "results" / "runs").glob("[0-9a-f]*"))
    files = [folder / "run.json", next((folder / "eval").iterdir())]
    run, score = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    named = set(re.findall(r"`(\w+)`", read("results/README.md")))
    assert set(row("label", run, score)) - named == set()


def test_every_format_of_import_is_named() -> None:
    assert all(f"`{name}`" in read("docs/runs.md") for name in importers.importers())
