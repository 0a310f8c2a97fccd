"""The verbs `evaluate` and `collect`: from a finished run to its row in runs.csv."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalelab.cli import main
from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.evaluation.collect import collect
from scalelab.evaluation.run import documents, evaluate
from scalelab.files import digest, read_json, write_json
from scalelab.plan.trunks import common
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
SETTINGS = {"format": 1, "split": "test", "context": 16, "stride": 8}


def silent(_: str) -> None:
    """Nobody reads the progress."""


def score(run: Path, corpus: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Evaluate with some settings replaced."""
    return evaluate(run, corpus, {**SETTINGS, **settings}, out, 1, silent)


@pytest.fixture(scope="session")
def study(
    trained: Path, corpus_folder: Path, spec: Spec, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A folder of two evaluated runs, one good and one diverged, and their plan."""
    root = tmp_path_factory.mktemp("study")
    specs = [spec(), spec(lr=10.0)]
    shutil.copytree(trained, root / digest(specs[0]))
    train(specs[1], corpus_folder, root / digest(specs[1]), 1, silent)
    for item in specs:
        folder = root / digest(item)
        score(folder, corpus_folder, folder / "eval" / "e.json")
    labels = ["d8-s1", "d8-lr10-s1"]
    runs = [{"id": digest(s), "label": name} for s, name in zip(specs, labels, strict=True)]
    return root, {"study": "tiny", "evaluation_id": "e", "runs": runs}


def test_a_score_says_what_was_scored(trained: Path, corpus_folder: Path, tmp_path: Path) -> None:
    result = score(trained, corpus_folder, tmp_path / "e.json")
    assert result == read_json(tmp_path / "e.json")
    corpus = load(corpus_folder)
    assert result["tokens"] == len(corpus.tokens["test"]) - 1, "the opening separator is given"
    assert result["bytes"] == corpus.manifest["splits"]["test"]["bytes"]
    assert result["settings"] == SETTINGS
    assert result["text_sha256"] == corpus.manifest["files"]["test.bin"]
    assert 0 < result["loss_nats"] < math.log(257)
    assert result["perplexity"] == pytest.approx(math.exp(result["loss_nats"]), rel=1e-9)
    assert result["bits_per_byte"] == pytest.approx(
        result["loss_nats"] * result["tokens"] / result["bytes"] / math.log(2), rel=1e-9
    )
    assert 0 < result["loss_nats_se"] < 0.2


def test_more_context_never_hurts_much_and_splits_differ(
    trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    found = {
        name: score(trained, corpus_folder, tmp_path / "e.json", **settings)["loss_nats"]
        for name, settings in {
            "blocks": {"stride": 16},
            "sliding": {"stride": 1},
            "short": {"context": 2, "stride": 2},
            "tuning": {"split": "tuning"},
        }.items()
    }
    assert len(set(found.values())) == 4
    assert max(found.values()) - min(found.values()) < 0.5


def test_the_clusters_are_the_documents(corpus_folder: Path) -> None:
    corpus = load(corpus_folder)
    owners = documents(corpus, "test")
    tokens = corpus.tokens["test"]
    assert len(owners) == len(tokens)
    assert len(np.unique(owners)) >= 4
    for start, end, document, size in corpus.pieces["test"]:
        assert (owners[start:end] == document).all()
        assert tokens[start:end].all(), "no separator inside a piece"
        assert size == end - start, "one byte a token"
        assert owners[min(end, len(owners) - 1)] == document, "its separator is its own"


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"context": 17}, "evaluation.context: found 17, expected at most the 16"),
        ({"stride": 17}, "evaluation.stride: found 17"),
        ({"stride": 0}, "evaluation.stride: found 0"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    trained: Path, corpus_folder: Path, tmp_path: Path, settings: dict[str, int], part: str
) -> None:
    """Case T25."""
    with pytest.raises(UserError, match=part):
        score(trained, corpus_folder, tmp_path / "e.json", **settings)
    assert not (tmp_path / "e.json").exists()


def test_damaged_weights_are_named(trained: Path, corpus_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    path = copy / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or changed"):
        score(copy, corpus_folder, tmp_path / "e.json")
    (path.parent / "sums.json").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: expected the weights"):
        score(copy, corpus_folder, tmp_path / "e.json")
    path.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: expected the weights"):
        score(copy, corpus_folder, tmp_path / "e.json")


def test_the_command_line_scores_and_refuses(
    trained: Path, corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["evaluate", "--run", str(trained), "--corpus", str(corpus_folder)]
    line += ["--settings", json.dumps(SETTINGS), "--out", str(tmp_path / "e.json")]
    assert main(line) == 0
    assert "held-out loss" in capsys.readouterr().err
    line[2] = str(tmp_path / "none")
    assert main(line) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_diverged_run_is_passed_over_with_empty_losses(
    study: tuple[Path, dict[str, Any]],
) -> None:
    root, plan = study
    result = read_json(root / plan["runs"][1]["id"] / "eval" / "e.json")
    assert result["status"] == "diverged"
    for name in ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"):
        assert result[name] is None


def test_the_table_has_a_row_a_run_with_every_digit(study: tuple[Path, dict[str, Any]]) -> None:
    root, plan = study
    out = root / "study" / "runs.csv"
    write_json(root / "plan.json", plan)
    line = ["collect", "--plan", str(root / "plan.json"), "--runs-root", str(root)]
    line += ["--out", str(out), "--checkpoints", str(root / "study" / "checkpoints")]
    assert main(line) == 0
    table = pd.read_csv(out).set_index("label")
    assert len(table) == 2
    good, bad = table.loc["d8-s1"], table.loc["d8-lr10-s1"]
    run = read_json(root / good["id"] / "run.json")
    found = read_json(root / good["id"] / "eval" / "e.json")
    for name in ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"):
        assert good[name] == found[name], "the file holds the number to its last digit"
        assert pd.isna(bad[name])
    assert good["perplexity"] == pytest.approx(math.exp(good["loss_nats"]), rel=1e-6)
    assert (good["N"], good["N_total"]) == (run["counts"]["N"], run["counts"]["N_total"])
    assert (good["D"], good["C"], good["C_6ND"]) == (run["D"], run["C"], run["C_6ND"])
    assert good["tokens_per_param"] == run["D"] / run["counts"]["N"]
    assert (good["status"], bad["status"]) == ("ok", "diverged")
    assert str(bad["reason"]).startswith("step ")
    assert good["flops_per_second"] == run["C"] / run["seconds"]
    for name in ("seconds", "tokens_per_second", "peak_memory_bytes", "checkpoint_bytes"):
        assert good[name] == run[name]
    for name in ("threads", "precision", "device"):
        assert good[name] == run[name]
    assert (good["resumed"], bad["resumed"]) == (0, 0)
    assert (good["eval_split"], good["eval_context"], good["eval_stride"]) == ("test", 16, 8)
    assert good["eval_bos"] == found["bos"] == "separator, not scored"
    for name in ("tokens", "bytes", "text_sha256"):
        assert good[f"eval_{name}"] == found[name]
    assert bad["eval_text_sha256"] == found["text_sha256"] and pd.isna(bad["eval_tokens"])
    for label in table.index:
        link = root / "study" / "checkpoints" / label
        assert (link / "config.json").exists()
        assert not link.is_symlink() or not Path(link.readlink()).is_absolute()


def test_a_share_of_the_peak_and_how_often_a_run_was_taken_up_are_collected(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    root, plan = study
    one = plan["runs"][0]["id"]
    shutil.copytree(root / one, tmp_path / one)
    path = tmp_path / one / "run.json"
    run = {**read_json(path), "mfu": 0.25, "processes": 2, "resumed_from": [8, 20], "seconds": 0}
    run["trunk_steps"] = 45
    write_json(path, run)
    (row,) = collect({**plan, "runs": plan["runs"][:1]}, tmp_path).to_dict("records")
    assert (row["mfu"], row["processes"], row["resumed"]) == (0.25, 2, 2)
    assert row["flops_per_second"] is None, "a run without a step took no time"
    assert (row["trunk"], row["trunk_steps"]) == (digest(common(run["spec"])), 45)


def test_rows_stand_by_size_and_only_those_of_the_plan(study: tuple[Path, dict[str, Any]]) -> None:
    root, plan = study
    both = collect(plan, root)
    assert list(both["D"]) == sorted(both["D"])
    reordered = collect({**plan, "runs": plan["runs"][::-1]}, root)
    assert list(reordered["id"]) == list(both["id"])
    alone = collect({**plan, "runs": plan["runs"][:1]}, root)
    assert list(alone["label"]) == ["d8-s1"], "what lies beside it is not collected"


def test_a_file_of_another_run_is_refused(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    root, plan = study
    first, second = (item["id"] for item in plan["runs"])
    shutil.copytree(root / second, tmp_path / first)
    one = {**plan, "runs": plan["runs"][:1]}
    with pytest.raises(UserError, match=f"found run {second}, expected {first}"):
        collect(one, tmp_path)
    (tmp_path / first / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: no such file"):
        collect(one, tmp_path)
