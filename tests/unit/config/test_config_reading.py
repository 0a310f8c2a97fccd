"""Study files: numbers as people write them, and one sentence for whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from scalelab import config
from scalelab.cli import main
from scalelab.config.schema import STRICT, Study
from scalelab.errors import UserError

GOOD = "study: good\ntraining:\n  tokens: 100000\n"


def write(folder: Path, text: str | bytes) -> Path:
    """A study file with that content."""
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """The sentence that the file is refused with, without the folder."""
    with pytest.raises(UserError) as caught:
        config.load(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1.0e-3", "1E-3", "'1e-3'", "10e-4", "1.e-3"])
def test_a_rate_is_one_number_however_written(tmp_path: Path, written: str) -> None:
    """Case S07."""
    study = config.load(write(tmp_path, f"{GOOD}  lr: {written}\n"))
    assert study.training.lr == 0.001


@pytest.mark.parametrize(
    "written", ["4000000", "4e6", "'4e6'", "4.0e6", "4M", "4 M", "4000k", "0.004G", "4_000_000"]
)
def test_a_count_is_one_number_however_written(tmp_path: Path, written: str) -> None:
    """Case S07."""
    study = config.load(write(tmp_path, f"study: s\ntraining:\n  tokens: {written}\n"))
    assert study.training.tokens == 4_000_000
    assert type(study.training.tokens) is int


def test_a_count_with_a_unit_is_not_computed_in_floats(tmp_path: Path) -> None:
    study = config.load(write(tmp_path, "study: s\ntraining:\n  tokens: 2.05M\n"))
    assert study.training.tokens == 2_050_000


def test_a_leading_nought_does_not_make_an_octal_number(tmp_path: Path) -> None:
    """Case S07."""
    assert config.load(write(tmp_path, f"{GOOD}seed: 0123\n")).seed == 123


def test_words_that_older_yaml_took_for_truth_values_stay_words(tmp_path: Path) -> None:
    """Case S07."""
    study = config.load(write(tmp_path, f"{GOOD}description: off\n"))
    assert study.description == "off"
    sentence = refusal(tmp_path, f"{GOOD}tracking:\n  wandb: off\n")
    assert sentence == (
        "study.yaml, line 5: tracking.wandb: found 'off', "
        "input should be 'offline', 'online' or 'disabled'"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["study.yaml: expected a mapping", "empty"]),
        ("# only a remark\n", ["expected a mapping", "empty"]),
        ("- 1\n- 2\n", ["expected a mapping", "a list"]),
        ("only words\n", ["expected a mapping", "text"]),
        ("training: {tokens: 1000}\n", ["'study' is missing"]),
        ("study: a\nstudy: b\n", ["line 2", "duplicate key", "study"]),
        ("study: a\n\ttraining: 3\n", ["line 2", "not valid YAML", "'\\t'"]),
        ("study: [a\n", ["not valid YAML"]),
        ("study: a\n[b, c]: 1\n", ["line 1", "a key that is no word"]),
        ("study: caf\xe9\n".encode("latin-1"), ["study.yaml", "UTF-8"]),
        ("size: 64\n" + GOOD, ["line 1", "unknown key 'size'"]),
        (GOOD + "ladder:\n  size: [64]\n", ["line 5", "unknown key 'ladder.size'", "'sizes'"]),
        (GOOD + "  weight_decy: 1\n", ["line 4", "'training.weight_decy'", "'weight_decay'"]),
        (GOOD + "fits: [{lew: power}]\n", ["line 4", "'fits.0.lew'", "'law'"]),
        (GOOD + "  lr: -1\n", ["line 4", "training.lr: found -1", "greater than 0"]),
        (GOOD + "  lr: 0\n", ["line 4", "training.lr: found 0", "greater than 0"]),
        (GOOD + "  lr: fast\n", ["line 4", "training.lr: found 'fast'", "number"]),
        (GOOD + "  lr: true\n", ["line 4", "training.lr: found True", "number"]),
        (GOOD + "  lr: .nan\n", ["line 4", "training.lr: found nan"]),
        (GOOD + "  lr: {value: 1, att: 2, exponent: 1}\n", ["line 4", "'training.lr.att'", "'at'"]),
        (GOOD + "  lr: {value: 1, at: 2}\n", ["line 4", "training.lr.exponent", "missing"]),
        (GOOD + "  lr: {value: 1, at: -2, exponent: 1}\n", ["training.lr.at: found -2"]),
        (GOOD + "  clip: 0\n", ["line 4", "training.clip: found 0"]),
        (GOOD + "  beta1: 1.5\n", ["line 4", "training.beta1: found 1.5"]),
        (GOOD + "  schedule: {kind: step}\n", ["training.schedule.kind: found 'step'", "'cosine'"]),
        (GOOD + "seed: 1:30\n", ["line 4", "seed: found '1:30'", "whole number"]),
        (GOOD + "seed: yes\n", ["line 4", "seed: found 'yes'", "whole number"]),
        (GOOD + "ladder: {widths: 8}\n", ["line 4", "ladder.widths: found 8", "list"]),
        (GOOD + "ladder: {widths: [8, -8]}\n", ["ladder.widths.1: found -8", "greater than 0"]),
        (GOOD + "ladder: 5\n", ["line 4", "ladder: found 5", "mapping"]),
        (GOOD + "corpus: {test_tokens: 1}\n", ["corpus.test_tokens: found 1", "equal to 2"]),
        (GOOD + "ladder:\n", ["line 4", "ladder: found None", "mapping"]),
        (GOOD + "axes: {training.lr: 1}\n", ["line 4", "axes.training.lr: found 1", "list"]),
        ("study: a/b\ntraining: {tokens: 1000}\n", ["line 1", "study: found 'a/b'"]),
        ("study: ../up\ntraining: {tokens: 1000}\n", ["line 1", "study: found '../up'"]),
        ("study: a b\ntraining: {tokens: 1000}\n", ["line 1", "study: found 'a b'"]),
        ("study: 125e2\ntraining: {tokens: 1000}\n", ["study: found 12500.0", "string"]),
        ("study: a\ntraining: {tokens: 1.5}\n", ["tokens: found 1.5", "whole number"]),
        ("study: a\ntraining: {tokens: 4MM}\n", ["tokens: found '4MM'", "whole number"]),
        ("study: a\ntraining: {tokens: 1.2.3}\n", ["tokens: found '1.2.3'", "whole number"]),
        ("study: a\ntraining: {tokens: .inf}\n", ["tokens: found inf", "whole number"]),
        ("study: a\ntraining: {tokens: 0}\n", ["tokens: found 0", "greater than 0"]),
        (
            GOOD + "  schedule: {warmup: 0.8, cooldown: 0.3}\n",
            ["training.schedule", "warmup 0.8", "cooldown 0.3"],
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str | bytes, parts: list[str]) -> None:
    """Cases S07 (numbers), S15 (keys) and S17 (names)."""
    sentence = refusal(tmp_path, text)
    assert sentence.startswith("study.yaml")
    assert "\n" not in sentence
    assert "pydantic" not in sentence
    for part in parts:
        assert part in sentence


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such study file"):
        config.load(tmp_path / "none.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, b"\xef\xbb\xbf" + GOOD.encode())).study == "good"


def test_reading_changes_no_file(tmp_path: Path) -> None:
    """Case S18."""
    path = write(tmp_path, GOOD)
    config.load(path, {"training.lr": 1})
    assert path.read_text() == GOOD


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.lr": "2e-3", "training.schedule.kind": "cosine"},
        {"training": {"lr": 0.002, "schedule": {"kind": "cosine"}}},
        {"training": {"lr": 0.002, "schedule.kind": "cosine"}},
    ],
)
def test_overrides_replace_single_keys(tmp_path: Path, overrides: dict[str, Any]) -> None:
    study = config.load(write(tmp_path, GOOD), overrides)
    assert study.training.lr == 0.002
    assert study.training.schedule.kind == "cosine"
    assert study.training.schedule.cooldown == 0.3, "a neighbour keeps its value"
    assert study.training.tokens == 100_000


def test_an_override_that_is_wrong_is_refused_like_a_line_of_the_file(tmp_path: Path) -> None:
    """Case S16: what is wrong is looked for in the right place."""
    path = write(tmp_path, f"{GOOD}  lr: 1\n")
    with pytest.raises(UserError, match=r"^command line: unknown key 'training\.lrr'; .* 'lr'"):
        config.load(path, {"training.lrr": 1})
    with pytest.raises(UserError, match=r"^command line: ladder\.widths\.1: found -8"):
        config.load(path, {"ladder": {"widths": [8, -8]}})
    path.write_text(f"{GOOD}  lr: -1\n")
    with pytest.raises(UserError, match=r"study\.yaml, line 4: training\.lr: found -1"):
        config.load(path, {"training.clip": 1})


def test_axes_are_replaced_whole(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}axes:\n  training.lr: [1, 2]\n")
    assert config.load(path, {"axes": {"model.depth": [1]}}).axes == {"model.depth": (1,)}


def test_no_key_has_one_letter() -> None:
    """Case S16: Snakemake's command line refuses such a key, so none could be overridden there."""

    def keys(section: Any) -> list[str]:
        inner = [keys(value) for value in section.values() if isinstance(value, dict)]
        return [*section, *(key for found in inner for key in found)]

    study = config.parse({"study": "s", "training": {"tokens": 1000}})
    found = keys(config.resolved(study))
    assert len(found) > 30
    assert [key for key in found if len(key) < 2] == []


def test_resolved_is_the_study_with_every_default_and_reads_back() -> None:
    study = config.parse({"study": "s", "training": {"tokens": "1k"}})
    plain = config.resolved(study)
    assert plain["training"]["beta2"] == 0.99
    assert config.parse(plain) == study
    assert STRICT["extra"] == "forbid"
    assert Study.__dataclass_params__.frozen


@pytest.mark.parametrize("text", ["", GOOD + "  lr: -1\n", GOOD + "axes: {lr: [1]}\n"])
def test_the_command_line_says_it_in_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = write(tmp_path, text)
    assert main(["plan", str(path), "--json", str(tmp_path / "plan.json")]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("scalelab plan: ")
    assert out.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A function that writes the laws of a finished sweep into the results of this folder."""
    monkeypatch.chdir(tmp_path)

    def write(answers):
        folder = tmp_path / "results" / "lr-sweep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "laws.json").write_text(json.dumps({"answers": answers}), encoding="utf-8")

    return write


def swept_study(**training):
    return {
        "study": "s",
        "ladder": {"widths": [16, 32]},
        "training": {"tokens": 1000, "lr": {"sweep": "lr-sweep"}, **training},
    }


def test_the_rule_of_a_sweep_is_taken_by_its_name(sweep):
    rule = {"value": 4e-3, "at": 1.5e5, "exponent": -0.4, "of": "N"}
    sweep([{"axis": "batch_tokens", "rule": None}, {"axis": "lr", "rule": rule}])
    assert config.parse(swept_study()).training.lr == config.PowerRule(**rule)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "no optimum of lr"),
        ([{"axis": "lr", "rule": None}], "an optimum without a rule"),
    ],
)
def test_a_sweep_without_a_rule_is_refused(sweep, answers, message):
    sweep(answers)
    with pytest.raises(UserError, match=f"training.lr: .*laws.json holds {message}"):
        config.parse(swept_study())


def test_a_sweep_that_was_not_run_is_one_sentence(sweep, tmp_path):
    with pytest.raises(UserError, match=r"training\.lr: results.*laws\.json does not exist"):
        config.parse(swept_study())
    with pytest.raises(UserError, match="the name of a study alone"):
        config.parse(swept_study(lr={"sweep": "lr-sweep", "value": 1}))
    assert list(tmp_path.iterdir()) == []
