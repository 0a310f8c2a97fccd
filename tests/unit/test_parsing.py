"""The code, parsed once on each machine."""

import json
from pathlib import Path

import pytest

from scalelab import parsing

CODE = '''"""Words."""
import a.b
from c import d


def f():
    """More."""
    return 1  # one
'''


def test_code_without_its_words_and_what_it_imports() -> None:
    content, names = parsing.parse(CODE)
    assert names == ["a.b", "c", "c.d"]
    assert parsing.parse("import a.b\nfrom c import d\ndef f(): return 1")[0] == content
    assert parsing.parse(CODE.replace("return 1", "return 2"))[0] != content


def test_what_is_known_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "code.json"
    first = parsing.Parsed(path)
    expected = first.of(CODE)
    other = parsing.Parsed(path)
    other.of("x = 1")
    first.save()
    other.save()
    monkeypatch.setattr(parsing, "parse", lambda source: pytest.fail("parsed again"))
    again = parsing.Parsed(path)
    assert again.of(CODE) == expected
    assert len(again.known) == 2, "what others wrote stays"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', "\0"])
def test_a_broken_file_costs_time_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "code.json"
    path.write_text(text)
    found = parsing.Parsed(path)
    assert found.of(CODE) == parsing.parse(CODE)
    found.save()
    assert len(json.loads(path.read_text())) == 1


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST", 3)
    path = tmp_path / "code.json"
    for number in range(5):
        found = parsing.Parsed(path)
        found.of(f"x = {number}")
        found.save()
    assert len(json.loads(path.read_text())) <= 3


def test_no_place_to_write_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = parsing.Parsed(tmp_path / "file" / "code.json")
    assert found.of(CODE) == parsing.parse(CODE)
    found.save()
