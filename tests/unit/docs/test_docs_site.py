"""The site is built without a warning, and asks no other host for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import ROOT

from scalelab.cli import VERBS

pytestmark = pytest.mark.slow
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|modulepreload))"""
    r"""[^>]*\bhref=["']?(?:https?:)?//[^>]*""",
    re.IGNORECASE,
)
"""A tag that makes a browser ask another host. Links for people to follow are not among them."""
STYLED = re.compile(r"""(?:@import\s*(?:url\()?|url\()\s*["']?(?:https?:)?//[^)"']*""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Strict: a broken link or anchor, or a page outside the navigation, fails."""
    folder = tmp_path_factory.mktemp("site") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    words += ["--site-dir", str(folder)]
    found = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=found, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_asked_of_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    found = [
        f"{path.relative_to(site)}: {match[0]}"
        for path in pages
        for match in FETCHED.finditer(path.read_text(encoding="utf-8"))
    ]
    found += [
        f"{path.relative_to(site)}: {match[0]}"
        for path in [*pages, *site.rglob("*.css")]
        for match in STYLED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        ('<script src="https://cdn.example.org/a.js">', True),
        ("<link href=//fonts.example.org/x.css rel=stylesheet>", True),
        ('<img alt="badge" src="http://example.org/badge.svg">', True),
        ('<script src="assets/a.js">', False),
        ('<a href="https://arxiv.org/abs/2203.15556">', False),
    ],
)
def test_what_asks_another_host_is_seen(html: str, asks: bool) -> None:
    assert bool(FETCHED.search(html)) == asks


def test_references_are_whole(site: Path) -> None:
    """Every verb with its options, every key of a study, and docstrings of the public functions."""
    verbs = (site / "reference/cli.html").read_text(encoding="utf-8")
    assert all(f'id="{verb}"' in verbs for verb in VERBS)
    assert "--inference-tokens" in verbs
    keys = (site / "reference/study-files.html").read_text(encoding="utf-8")
    assert "near_duplicate_threshold" in keys
    laws = (site / "reference/python/laws.html").read_text(encoding="utf-8")
    assert all(f'id="scalelab.laws.{name}"' in laws for name in ("fit", "compare", "allocate"))


def test_links_between_pages_and_references_are_turned(site: Path) -> None:
    corpora = (site / "corpora.html").read_text(encoding="utf-8")
    assert 'href="reference/studies.html#english"' in corpora
    assert 'src="images/scaling_law.png"' in (site / "index.html").read_text(encoding="utf-8")
