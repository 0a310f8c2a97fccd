"""Study files that are wrong in any way: a plan, or one sentence, and nothing written."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fuzz import examples
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from scalelab import config
from scalelab.errors import UserError
from scalelab.plan.command import as_json, as_text
from scalelab.plan.runs import build

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("config/*.yaml"), *ROOT.glob("config/axes/*.yaml")])
TEXTS = [path.read_text(encoding="utf-8") for path in FILES]
STUDIES = [YAML(typ="safe").load(text) for text in TEXTS]

NUMBERS = [0, -1, 1, 2, 3, 7, 63, 64, 1e-3, 0.5, 1.5, -0.0, 1e308, 1e-308, 10**30, float("inf")]
NUMBERS += [float("-inf"), float("nan")]
WORDS = ["", " ", "1e-3", "0.001", "1e999", "-3", "4M", "1_000", "0x10", "null", "auto", "none"]
WORDS += ["gpt2", "GPT2", "bert", "../x", "a/b", "<script>", "\x00", "é", "𝔘" * 70, "x" * 5_000]
ODD = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], [{}], {"": 1}, {1: 2}]),
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from([*NUMBERS, *WORDS, None]), max_size=3),
    st.dictionaries(st.sampled_from(["value", "at", "kind", "sweep", "x"]), st.integers()),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
KEYS = ["width", "sizes", "tokens", "lr", "kind", "depth", "x", "budgets", "source", "paths", "law"]


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each part of a study."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in pairs if isinstance(value, (dict, list)) else ():
        found.append((*above, key))
        if isinstance(part, (dict, list)):
            found += places(part, (*above, key))
    return found


@st.composite
def harmed(draw: st.DrawFn) -> dict[str, Any]:
    """A study of this project in which one to three things are another way."""
    study = copy.deepcopy(draw(st.sampled_from(STUDIES)))
    for _ in range(draw(st.integers(1, 3))):
        ways = places(study)
        if not ways:
            break
        *way, last = draw(st.sampled_from(ways))
        part = study
        for key in way:
            part = part[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "add", "double"]))
        if action == "replace":
            part[last] = copy.deepcopy(draw(ODD))
        elif action == "remove":
            del part[last]
        elif action == "add" and isinstance(part, dict):
            part[draw(st.sampled_from([*KEYS, f"{last}s"]))] = copy.deepcopy(draw(ODD))
        elif action == "double" and isinstance(part, list):
            part.append(copy.deepcopy(part[last]))
    return study


def planned(path: Path) -> str | None:
    """The sentence that a file is refused with, or None where it has a plan."""
    try:
        plan = build(config.load(path))
        json.dumps(as_json(plan), allow_nan=False)
        as_text(plan)
    except UserError as error:
        return str(error)
    return None


def assert_one_sentence(sentence: str, folder: Path) -> None:
    """One line that a person can read, about this file or about a key."""
    assert sentence == sentence.strip() and sentence.isprintable(), sentence
    assert 10 < len(sentence) < 1_500, sentence
    for word in ("Traceback", "pydantic", "NoneType", "object at 0x", "_v_", "function-"):
        assert word not in sentence, sentence
    assert [path.name for path in folder.iterdir()] == ["study.yaml"], "something was written"


@examples(50)
@given(study=harmed())
def test_any_value_at_any_place_is_planned_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as out:
        YAML(typ="safe").dump(study, out)
    sentence = planned(path)
    if sentence is not None:
        assert_one_sentence(sentence, tmp_path)


PIECES = [b"\t", b"\xef\xbb\xbf", b"&a ", b"*a", b"<<: *a\n", b"\r", b"\x00", b"- ", b": ", b"{"]
PIECES += [b"]", b"!!python/name:os.system ", b"#", b"\n---\n", b"? ", b"!include x", b"|", b">"]
PIECES += [b"'", b'"', b"%TAG\n", "\u2028".encode()]


@st.composite
def scribbled(draw: st.DrawFn) -> bytes:
    """The text of a study with some bytes that do not belong there."""
    text = bytearray(draw(st.sampled_from(TEXTS)).encode())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        piece = draw(
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from(PIECES),
            )
        )
        text[place : place + draw(st.integers(0, 3))] = piece
    return bytes(text)


@examples(50)
@given(text=scribbled())
def test_any_text_is_planned_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_bytes(text)
    sentence = planned(path)
    if sentence is not None:
        assert_one_sentence(sentence, tmp_path)


FOUND = {
    "a kind that is no word": (
        {"design": {"kind": {"at": 1}}},
        "design.kind: found {'at': 1}, expected",
    ),
    "more than a float holds": (
        {"model": {"depth": 1e308}},
        "model.depth: found 1e+308, expected",
    ),
    "a long text": ({"ladder": {"widths": ["x" * 5_000]}}, "x..., expected a whole number"),
    "an option's own limit": (
        {"design": {"kind": "vocab", "vocab_sizes": [12, 300, 400]}},
        "design.vocab_sizes: vocab_size: found 12, input should be greater than or equal to 257",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_so_is_one_sentence(tmp_path: Path, case: str) -> None:
    changes, told = FOUND[case]
    study: dict[str, Any] = {"study": "s", "training": {"tokens": "100k"}, **changes}
    study.setdefault("ladder", {"widths": [16, 32]})
    (tmp_path / "study.yaml").write_text(json.dumps(study), encoding="utf-8")
    sentence = planned(tmp_path / "study.yaml")
    assert sentence is not None and told in sentence
    assert_one_sentence(sentence, tmp_path)
