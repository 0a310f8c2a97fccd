"""Licences of the locked packages: each is known, allows any use, and stands on the page."""

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from licences import ACCEPTED, PAGE, licence, licences, locked, page, parts

FOUND = licences()


def test_each_locked_package_has_a_licence_that_is_accepted() -> None:
    refused = {
        name: one for name, one in FOUND.items() if not all(part in ACCEPTED for part in parts(one))
    }
    assert not refused
    assert len(FOUND) > 0.9 * len(locked()), "most of the lock is not installed"


def test_the_page_shows_them() -> None:
    """After a change of the lock: python tests/licences.py."""
    shown = PAGE.read_text(encoding="utf-8")
    if len(FOUND) == len(locked()):
        assert shown == page(FOUND)
    for name in locked():
        assert f" {name}," in shown or f" {name} |" in shown


def package(folder: Path, told: str, text: str = "") -> Distribution:
    """An installed package that says `told` of itself, with a licence file."""
    folder = folder / "one-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: one\nVersion: 1.0\n{told}")
    (folder / "LICENSE").write_text(text)
    (folder / "RECORD").write_text("one-1.0.dist-info/LICENSE,,\n")
    return PathDistribution(folder)


@pytest.mark.parametrize(
    ("told", "text", "expected"),
    [
        ("License-Expression: MIT AND GPL-3.0-only\n", "", "MIT AND GPL-3.0-only"),
        ("License: Apache License, Version 2.0\n", "", "Apache-2.0"),
        ("Classifier: License :: OSI Approved :: MIT License\n", "", "MIT"),
        ("Classifier: License :: OSI Approved :: GNU General Public License (GPL)\n", "", ""),
        ("License: Proprietary\n", "All rights reserved.", ""),
        (
            "License: BSD\n",
            "Redistribution and use in source and binary\nforms. Neither the name of X may",
            "BSD-3-Clause",
        ),
        (
            "",
            "Redistribution and use in source and binary forms ... part of this:\n"
            "Permission is hereby granted, free of charge",
            "BSD-2-Clause",
        ),
        ("", "", ""),
    ],
)
def test_a_licence_is_read_from_what_a_package_says(
    tmp_path: Path, told: str, text: str, expected: str
) -> None:
    found = licence(package(tmp_path, told, text))
    assert found == expected
    accepted = expected not in ("", "MIT AND GPL-3.0-only")
    assert all(part in ACCEPTED for part in parts(found)) == accepted
