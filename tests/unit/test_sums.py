"""The verb `verify`: files compared with sums that were written with them."""

import json
from pathlib import Path

import pytest

from scalelab.cli import main

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """Sums of a run of two files, one of them in a folder."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "weights").write_bytes(b"abc")
    (tmp_path / "run.json").write_text("{}")
    written = tmp_path / "sums.json"
    words = [written, tmp_path / "checkpoint", tmp_path / "run.json"]
    assert main(["verify", "--write", *map(str, words)]) == 0
    return written


def test_what_is_written_is_known(sums: Path) -> None:
    files = json.loads(sums.read_text())["files"]
    assert files["checkpoint/weights"] == SHA256_OF_ABC
    assert [*files] == ["checkpoint/weights", "run.json"]
    assert main(["verify", str(sums)]) == 0


@pytest.mark.parametrize("content", [b"abd", b"ab", b"abc\0", b""])
def test_a_changed_file_is_named(
    sums: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    harmed = sums.parent / "checkpoint" / "weights"
    harmed.write_bytes(content)
    assert main(["verify", str(sums)]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith(f"scalelab verify: {harmed}: damaged or changed since it was written")


def test_a_job_has_only_some_of_the_files(sums: Path) -> None:
    (sums.parent / "run.json").unlink()
    assert main(["verify", str(sums)]) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "expected a JSON file"), ("[]", "expected a file of sums"), (None, "no such file")],
)
def test_sums_that_are_none(
    tmp_path: Path, content: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sums.json"
    if content is not None:
        path.write_text(content)
    assert main(["verify", str(path)]) == 2
    assert told in capsys.readouterr().err


def test_sums_are_written_of_files_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run" / "sums.json"
    (tmp_path / "elsewhere").write_text("")
    for name, told in (("elsewhere", "expected a file below"), ("missing", "cannot be read")):
        given = tmp_path / ("run" if name == "missing" else "") / name
        assert main(["verify", "--write", str(out), str(given)]) == 2
        assert told in capsys.readouterr().err and not out.exists()
