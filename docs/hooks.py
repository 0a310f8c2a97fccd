"""Pages of the site that are no files of docs/, and links that hold in the repository too.

A page of the repository links to other files of it by relative paths, as repository browsers follow
them. Where such a file is a page of the site, the link is turned to that page; where it is none,
the build fails.
"""

import argparse
import importlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from scalelab.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
TAKEN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "config/README.md": "reference/study-files.md",
    "results/README.md": "reference/results.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE",
}
"""Files outside docs/ by their place in the site."""
STUDIES = "reference/studies.md"
MODULES = {
    "laws": ("Laws", ["scalelab.laws"]),
    "advise": ("Advice", ["scalelab.advise"]),
    "plan": ("Plan", ["scalelab.plan.runs", "scalelab.plan.families", "scalelab.plan.designs"]),
    "figures": ("Figures", ["scalelab.figures"]),
    "config": ("Study files", ["scalelab.config"]),
    "library": ("Finished runs", ["scalelab.library.store", "scalelab.library.importers"]),
    "models": ("Models", ["scalelab.models"]),
    "corpus": ("Corpora", ["scalelab.corpus", "scalelab.corpus.facts"]),
}
"""Title and modules of each page of the Python reference."""
LINK = re.compile(r"(\]\(|\bsrc=\")([^)\"#\s]+)(#[^)\"\s]*)?(\)|\")")
"""A link or a picture in Markdown, or a picture in HTML (which can be given a width)."""
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Enter the pages that are made here."""
    made = {place: (ROOT / source).read_text(encoding="utf-8") for source, place in TAKEN.items()}
    made |= {"reference/cli.md": command_line(), STUDIES: shipped_studies()}
    for name, (title, modules) in MODULES.items():
        made[f"reference/python/{name}.md"] = python_page(title, modules)
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    place = page.file.src_uri
    source = next((key for key, value in TAKEN.items() if value == place), f"docs/{place}")
    if place.startswith("reference/") and source.startswith("docs/"):
        return markdown  # made for the site
    parts = FENCE.split(markdown)
    return "".join(
        part
        if part.startswith("```")
        else LINK.sub(lambda match: _turned(match, source, place), part)
        for part in parts
    )


def _turned(match: re.Match[str], source: str, place: str) -> str:
    before, target, anchor, after = match[1], match[2], match[3] or "", match[4]
    if "://" in target or target.startswith("mailto:"):
        return match[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path.startswith("docs/"):
        goal = path.removeprefix("docs/")
    elif path in TAKEN:
        goal = TAKEN[path]
    elif re.fullmatch(r"config/[\w-]+\.yaml", path) and (ROOT / path).exists():
        goal, anchor = STUDIES, f"#{Path(path).stem}"
    else:
        raise PluginError(f"{source} links to {target}, which is no page of the site")
    return f"{before}{posixpath.relpath(goal, posixpath.dirname(place) or '.')}{anchor}{after}"


def command_line() -> str:
    """The options of every verb as its parser prints them."""
    lines = ["# Command line", "", "What `scalelab VERB --help` prints, for every verb."]
    for verb, (module, summary) in VERBS.items():
        parser = argparse.ArgumentParser(f"scalelab {verb}", description=summary.capitalize() + ".")
        importlib.import_module(module).add_arguments(parser)
        lines += ["", f"## {verb}", "", *_help(parser)]
        for name, action in _sub_verbs(parser):
            lines += ["", f"### {verb} {name}", "", *_help(action)]
    return "\n".join(lines) + "\n"


def _help(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=88)
    return ["```text", parser.format_help().strip(), "```"]


def _sub_verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def shipped_studies() -> str:
    """Every study file of config/, whole."""
    lines = ["# Study files of the project", "", "The files in `config/`, to run or to copy from."]
    for path in sorted((ROOT / "config").glob("*.yaml")):
        text = path.read_text(encoding="utf-8").strip()
        lines += ["", f"## {path.stem}", "", "```yaml", text, "```"]
    return "\n".join(lines) + "\n"


def python_page(title: str, modules: list[str]) -> str:
    """A page on which mkdocstrings puts the docstrings of some modules."""
    return "\n\n".join([f"# {title} in Python", *(f"::: {name}" for name in modules)]) + "\n"
