"""The verb `plan`: cost and weaknesses on paper, and a study for a budget."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from scalelab import config
from scalelab.advise.propose import DESIGNS, propose
from scalelab.advise.shapes import ladder
from scalelab.advise.study_file import as_yaml, rules, study
from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.plan.runs import build

STUDY = """
study: small
corpus: {packages: [stdlib], tokenizer: bytes}
model: {depth: 1, context: 16}
ladder: {widths: [8, 16, 24, 32]}
training: {tokens: 20k, batch_tokens: 64}
"""


def parsed(proposal: Any) -> Any:
    """The plan of the file that is proposed, its text replaced by one that is at hand."""
    from ruamel.yaml import YAML

    text = as_yaml(study(proposal, "proposed"), ["a comment"])
    content = YAML(typ="safe").load(text)
    content["corpus"] |= {"source": "python", "paths": [], "packages": ["stdlib"]}
    return build(config.parse(content))


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("flops", [1e15, 1e18, 1e21])
def test_a_proposal_is_a_study_within_its_budget(design: str, flops: float) -> None:
    proposal = propose(design, flops, 6)
    plan = parsed(proposal)
    spent = sum(run.flops for run in plan.runs)
    assert spent <= flops * 1.02
    assert spent >= flops / 8, "a next larger study would cost more"
    assert len(plan.runs) == len(proposal.runs)
    for run in plan.runs:
        shape = run.spec["model"]
        assert shape["width"] % shape["heads"] == 0
        assert shape["width"] / shape["heads"] in (8, 16, 32, 64, 128)
        assert run.spec["training"]["steps"] >= 100


def test_shapes_are_clean_and_ascending() -> None:
    shapes = ladder(512, 4096)
    sizes = [size.n for size in shapes]
    assert sizes == sorted(set(sizes))
    assert sizes[0] < 1.1e4
    assert sizes[-1] > 1e10
    assert max(b / a for a, b in itertools.pairwise(sizes)) < 2.6
    for size in shapes:
        assert size.shape.depth == max(3, round(size.shape.width / 64))


def test_small_and_large_runs_take_the_rules_measured_for_them() -> None:
    small, large = propose("ladder", 1e14, 6), propose("ladder", 1e21, 6)
    rule, _ = rules(small)
    at_reference = rule["value"] * (1.5e5 / rule["at"]) ** rule["exponent"]
    assert at_reference == pytest.approx(3.9e-3, rel=0.02)
    rule, batch = rules(large)
    # Bi et al. 2024, section 3.1, at the FLOPs of the dearest run.
    assert rule["value"] == pytest.approx(0.3118 * large.largest**-0.125, rel=0.01)
    assert isinstance(batch, dict)
    assert batch["value"] == pytest.approx(0.2920 * large.largest**0.3271, rel=0.05)


@pytest.mark.parametrize(
    ("design", "flops", "sizes", "part"),
    [
        ("ladder", 1e9, 8, "too few for a study of 8 sizes by the design ladder"),
        ("isoflop", 1e9, 5, "too few for a study of 5 sizes by the design isoflop"),
        ("sweep", 1e18, 8, "expected one of ladder, grid, isoflop, overtrain"),
        ("ladder", 1e18, 3, "--sizes 3: expected 4 or more"),
    ],
)
def test_what_cannot_be_proposed_is_said(design: str, flops: float, sizes: int, part: str) -> None:
    with pytest.raises(UserError) as caught:
        propose(design, flops, sizes)
    assert part in str(caught.value)


def test_the_verb_says_cost_and_weaknesses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    assert main(["plan", str(path), "--no-time"]) == 0
    told = capsys.readouterr().out
    assert "MB of disk" in told
    assert "weak: no size is trained with two seeds" in told
    assert "weak: 4 sizes" in told


def test_constant_tokens_per_parameter_cannot_tell_n_from_d(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    text = STUDY.replace("tokens: 20k", "tokens_per_param: 20")
    path.write_text(text + "fits: [{law: chinchilla}]\n")
    assert main(["plan", str(path), "--no-time"]) == 0
    assert "cannot be told apart" in capsys.readouterr().out


@pytest.mark.slow
def test_hours_come_from_a_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    assert main(["plan", str(path), "--cores", "1"]) == 0
    assert "minutes on 1 cores of this machine" in capsys.readouterr().out


def test_a_study_is_written_that_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    words = ["plan", "--flops", "3e13", "--sizes", "5", "--out", str(path)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "expected: alpha within +-" in told
    assert "Proposed by `scalelab plan --flops 3e13 --design ladder --sizes 5`" in path.read_text()
    assert main(["plan", str(path), "--no-time"]) == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "expected a study file, or one of --flops, --hours and --dollars"),
        (["--flops", "1e18", "--hours", "2"], "one of --flops, --hours and --dollars"),
        (["--flops", "much"], "--flops much: expected a positive number"),
        (["--dollars", "3"], "--dollars needs --dollars-per-hour"),
        (["--flops", "1e18", "--design", "none"], "--design none: expected one of"),
        (["--flops", "1e18", "--cores", "-1"], "--cores -1: expected 1 or more"),
    ],
)
def test_bad_words_are_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 2
    told = capsys.readouterr().err
    assert part in told
    assert told.count("\n") == 1
