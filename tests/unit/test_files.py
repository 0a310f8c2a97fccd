"""Files are whole or absent, JSON is strict, and equal values have equal digests."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab import files
from scalelab.errors import UserError


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half of the new te")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_raises_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with files.atomic_folder(path) as temporary:
        (temporary / "old").write_text("1")
    with pytest.raises(RuntimeError), files.atomic_folder(path) as temporary:
        (temporary / "new").write_text("2")
        raise RuntimeError
    assert [item.name for item in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_the_older_one_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with files.atomic_folder(tmp_path / "folder") as temporary:
            (temporary / name).write_text(name)
    assert [item.name for item in (tmp_path / "folder").iterdir()] == ["new"]


def test_nothing_stands_under_the_name_before_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with files.atomic_path(path) as temporary:
        temporary.write_text("text")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename must stay on one file system"
    assert path.read_text() == "text"


def test_others_can_read_what_was_written(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a.txt", "text")
        with files.atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(umask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_text_is_utf8_with_its_own_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "α\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == "α\r\nb\n".encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [1.0, float("-inf")]}])
def test_json_refuses_what_is_no_number(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", value)
    assert list(tmp_path.iterdir()) == []


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": "é", "tiny": 1e-300}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == [*value]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"{'a': 1}"])
def test_broken_json_is_a_sentence_with_the_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: expected a JSON file"):
        files.read_json(path)
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="expected a JSON file"):
        files.read_json(tmp_path)


def test_equal_values_have_equal_digests() -> None:
    first = {"lr": 1e-3, "sizes": (8, 16.0), "x": None}
    second = {"x": None, "sizes": [8.0, 16], "lr": 0.001}
    assert files.digest(first) == files.digest(second)
    assert files.digest(first) != files.digest({**first, "lr": 0.0010001})
    assert files.digest({"a": 1}) != files.digest({"a": "1"})
    assert files.digest({"a": 1}) != files.digest({"a": True})
    assert len(files.digest(first)) == 12
    with pytest.raises(ValueError):
        files.digest({"a": float("nan")})


def no_home() -> Path:
    """As in a container whose user has no name and no home."""
    raise RuntimeError("no home")


@pytest.mark.parametrize("home", ["file", "closed", "missing", "none"])
def test_a_cache_that_cannot_be_where_it_belongs_is_found_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").write_text("")
    may = os.access
    closed = tmp_path / "closed"
    closed.mkdir()
    # For root no folder is closed.
    monkeypatch.setattr("os.access", lambda path, mode: path != closed and may(path, mode))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if home == "none":
        monkeypatch.setattr(Path, "home", no_home)
    else:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    found = files.cache_file("speed.json")
    usual = tmp_path / "missing/.cache/scalelab"
    own = tmp_path / f"scalelab-{os.getuid()}"
    assert found == (usual if home == "missing" else own) / "speed.json"
    files.write_json(found, {"is": "kept"})
    assert files.cache_file("speed.json") == found
    if home != "missing":
        assert own.stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_someone_else_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: own + 1)
    (tmp_path / f"scalelab-{own + 1}").symlink_to(elsewhere)
    with pytest.raises(OSError):
        files.write_json(files.cache_file("speed.json"), {})
    assert [*elsewhere.iterdir()] == []


KILLED = """
import os, pathlib, signal, sys
from scalelab import files
with getattr(files, sys.argv[1])(sys.argv[2]) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["atomic_path", "atomic_folder"])
def test_what_a_killed_process_left_is_removed_when_it_is_written_again(
    tmp_path: Path, kind: str
) -> None:
    words = [sys.executable, "-c", KILLED, kind, str(tmp_path / "a")]
    assert subprocess.run(words).returncode == -signal.SIGKILL
    assert [path.name.endswith(".tmp") for path in tmp_path.iterdir()] == [True]
    write = getattr(files, kind)
    with write(tmp_path / "other"):
        assert len([*tmp_path.glob(".a.*.tmp")]) == 1, "not of this file"
    with write(tmp_path / "a") as mine, write(tmp_path / "a") as others:
        assert mine.exists() and others.exists(), "a process at work keeps its own"
        assert len([*tmp_path.glob(".a.*.tmp")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "other"]


def test_a_file_that_was_swept_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = files._lock, []

    def late(handle: int) -> bool:
        if not swept:
            (path,) = tmp_path.glob(".a.*.tmp")
            path.unlink()
            swept.append(path)
        return lock(handle)

    monkeypatch.setattr(files, "_lock", late)
    files.write_text(tmp_path / "a", "text")
    assert swept and (tmp_path / "a").read_text() == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_that_is_no_text_is_one_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff.txt")
    with pytest.raises(UserError, match=r"a: found .*bad\\udcff.txt.*a name that is not UTF-8"):
        files.write_json(tmp_path / "a", {"names": ["good.txt", name]})
    assert [*tmp_path.iterdir()] == []


CROWD = """
import sys
from pathlib import Path
from scalelab import files
folder, mine = Path(sys.argv[1]), sys.argv[2]
for _ in range(60):
    files.write_text(folder / "file", 1000 * mine)
    with files.atomic_folder(folder / "folder") as temporary:
        (temporary / "file").write_text(mine)
"""


def test_processes_that_write_the_same_at_once_leave_what_one_of_them_wrote(tmp_path: Path) -> None:
    words = [sys.executable, "-c", CROWD, str(tmp_path)]
    crowd = [subprocess.Popen([*words, name]) for name in "abc"]
    assert [process.wait() for process in crowd] == [0, 0, 0]
    assert (tmp_path / "file").read_text() in {1000 * name for name in "abc"}
    assert (tmp_path / "folder" / "file").read_text() in set("abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
