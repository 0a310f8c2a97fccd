"""Licences of the locked packages, from what is installed: `python tests/licences.py` writes
docs/licences.md anew."""

import argparse
import importlib.metadata
import re
from importlib.metadata import Distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
ACCEPTED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-CMU",
    "MPL-2.0",  # asks for the source of its own changed files alone
    "PSF-2.0",
    "Public domain",
    "Zlib",
}
"""SPDX names of licences that allow any use, and ask of others' code no more than a notice."""
FOUND_BY_READING = {
    "packaging": "Apache-2.0 OR BSD-2-Clause",
    # Its GPL file, a mode for Emacs, is in the source and not in the wheel.
    "docutils": "Public domain AND BSD-2-Clause AND PSF-2.0",
}
SPELLINGS = {
    "apache": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license version": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "",  # two or three clauses: the text tells
    "bsd license": "",
    "clause bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license iscl": "ISC",
    "mit license": "MIT",
    "mozilla public license mpl": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "unknown": "",
}
"""What packages call licences, in small letters without numbers."""
WORDS = {
    "Permission is hereby granted, free of charge": "MIT",
    "Apache License Version 2.0": "Apache-2.0",
    "Redistribution and use in source and binary forms": "BSD-2-Clause",
}
"""How the texts of licences begin."""
HEAD = """# Licences of dependencies

What each package of `requirements.lock` says of itself, those for tests and documentation
included; `python tests/licences.py` writes this page from what is installed, and a test refuses a
package whose licence is none of these. scalelab is under the Apache License 2.0.

Not in the list: what wheels hold of compiled libraries, under licences that their own files name,
and what torch brings for an accelerator, NVIDIA's libraries under NVIDIA's terms among it.

| licence | packages |
| --- | --- |
"""


def locked() -> list[str]:
    """Names of requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and line[0] != "#"]


def licence(package: Distribution) -> str:
    """SPDX expression of a package: the field for it, or else its old field, its classifiers, or
    the text of its licence; '' where none of them tells."""
    told = package.metadata
    name = told["Name"]
    classifiers = [word for word in told.get_all("Classifier") or [] if word.startswith("License")]
    named = sorted({spdx(word.rpartition("::")[2]) for word in classifiers} - {""})
    found = [
        FOUND_BY_READING.get(name, ""),
        told.get("License-Expression") or "",
        spdx(told.get("License") or ""),
        named[0] if len(named) == 1 else "",
        of_text(package),
    ]
    return next((one for one in found if one), "")


def spdx(text: str) -> str:
    """The SPDX name for what people write, '' for what does not settle it."""
    text = text.strip()
    if all(part in ACCEPTED for part in parts(text)):
        return text
    words = " ".join(re.findall(r"[a-z]+", text.lower()))
    return SPELLINGS.get(words, "")


def parts(expression: str) -> list[str]:
    """The licences of an SPDX expression."""
    return [part.strip(" ()") for part in re.split(r"\b(?:AND|OR)\b", expression)]


def of_text(package: Distribution) -> str:
    """The licence whose words the first licence file of a package holds."""
    names = ("LICENSE", "LICENCE", "COPYING")
    files = [path for path in package.files or [] if path.name.upper().startswith(names)]
    if not files:
        return ""
    text = " ".join(Path(str(files[0].locate())).read_text(encoding="utf-8").split())
    # Copies of other projects' licences come after a package's own.
    begin = {one: text.find(words) for words, one in WORDS.items() if words in text}
    first = min(begin, key=lambda one: begin[one], default="")
    if first == "BSD-2-Clause" and re.search(r"(Neither|nor) the names? of|used to endorse", text):
        return "BSD-3-Clause"
    return first


def licences() -> dict[str, str]:
    """The licence of each locked package that is installed."""
    found = {}
    for name in locked():
        try:
            found[name] = licence(importlib.metadata.distribution(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def page(found: dict[str, str]) -> str:
    """docs/licences.md."""
    by_licence: dict[str, list[str]] = {}
    for name, one in found.items():
        by_licence.setdefault(one, []).append(name)
    order = sorted(by_licence, key=lambda one: (-len(by_licence[one]), one))
    return HEAD + "".join(f"| {one} | {', '.join(by_licence[one])} |\n" for one in order)


if __name__ == "__main__":
    argparse.ArgumentParser(description="Write docs/licences.md anew.").parse_args()
    PAGE.write_text(page(licences()), encoding="utf-8")
