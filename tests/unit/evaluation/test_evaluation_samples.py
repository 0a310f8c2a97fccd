"""The verb `samples`: what the best run of each size makes of held-out beginnings."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from scalelab.cli import main
from scalelab.corpus.shards import load
from scalelab.evaluation.run import load_model
from scalelab.evaluation.samples import best_of_sizes, next_logits, thinned, write
from scalelab.files import read_json

COLUMNS = ("id", "label", "N", "D", "context", "corpus", "status", "loss_nats", "bits_per_byte")
ROW = dict(zip(COLUMNS, ("a", "d8-s1", "888", "3840", "16", "c", "ok", "3.0", "4.0"), strict=True))


@pytest.fixture(scope="module")
def study(trained: Path, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with weights, one that diverged and one whose checkpoint is gone."""
    root = tmp_path_factory.mktemp("samples")
    shutil.copytree(trained, root / "runs" / "a")
    shutil.copytree(corpus_folder, root / "corpora" / "c")
    rows = [ROW, {**ROW, "id": "b", "N": "999", "status": "diverged", "loss_nats": ""}]
    rows.append({**ROW, "id": "gone", "label": "gone", "N": "2000"})
    with open(root / "runs.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return root


def call(study: Path, out: Path, *more: str) -> int:
    words = ["samples", "--runs", str(study / "runs.csv"), "--runs-root", str(study / "runs")]
    words += ["--corpora", str(study / "corpora"), "--out", str(out), "--tokens", "12", *more]
    return main(words)


def test_each_size_goes_on_with_the_same_held_out_beginnings(study: Path, tmp_path: Path) -> None:
    assert call(study, tmp_path / "s.json") == 0
    result = read_json(tmp_path / "s.json")
    first, gone = result["sizes"]
    assert (first["id"], first["N"], first["loss_nats"]) == ("a", 888, 3.0)
    assert (gone["texts"], gone["reason"]) == ([], "its checkpoint is not there")
    assert len(result["prompts"]) == len(first["texts"]) == 3
    corpus = load(study / "corpora" / "c")
    held_out = bytes((np.asarray(corpus.tokens["test"]) - 1).astype(np.uint8)).decode("latin-1")
    for prompt, text in zip(result["prompts"], first["texts"], strict=True):
        assert len(prompt["text"]) == 8, "half of the context of 16"
        assert prompt["text"] + prompt["goes_on"] in held_out
        assert 0 < len(text) <= 12
    assert len({prompt["text"] for prompt in result["prompts"]}) == 3


def test_the_seed_decides_the_texts(study: Path, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert call(study, tmp_path / name, "--seed", seed) == 0
        found.append(read_json(tmp_path / name)["sizes"][0]["texts"])
    assert found[0] == found[1] != found[2]


def test_pixels_are_not_shown_as_text(study: Path, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(study, root)
    manifest = read_json(root / "corpora" / "c" / "manifest.json")
    manifest["spec"]["config"]["source"] = "images"
    (root / "corpora" / "c" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert call(root, tmp_path / "s.json") == 0
    result = read_json(tmp_path / "s.json")
    assert result["sizes"] == result["prompts"] == []


def test_logits_are_those_that_the_losses_come_from(trained: Path) -> None:
    model, shape = load_model(trained, read_json(trained / "run.json"), 0)
    ids = torch.arange(1, shape.context + 1)[None]
    with torch.inference_mode():
        logs = torch.log_softmax(next_logits(model, ids), -1)[0]
        for token in (0, 17, 256):
            targets = torch.full_like(ids, token)
            assert -float(logs[token]) == pytest.approx(
                float(model.losses(ids, targets)[0, -1]), abs=1e-5
            )


def test_a_cold_model_takes_the_likeliest_token(trained: Path) -> None:
    model, shape = load_model(trained, read_json(trained / "run.json"), 0)
    ids = [0, *range(40, 60)]  # longer than the context
    added = write(model, ids, 5, shape.context, 1e-4, torch.Generator().manual_seed(1), -1)
    for token in added:
        with torch.inference_mode():
            likeliest = next_logits(model, torch.tensor([ids[-shape.context :]])).argmax()
        assert token == int(likeliest)
        ids.append(token)


def test_the_end_of_a_document_ends_the_text(trained: Path) -> None:
    model, shape = load_model(trained, read_json(trained / "run.json"), 0)
    generator = torch.Generator().manual_seed(1)
    whole = write(model, [0, 40], 9, shape.context, 1.0, generator, -1)
    generator.manual_seed(1)
    cut = write(model, [0, 40], 9, shape.context, 1.0, generator, whole[4])
    assert cut == whole[: whole.index(whole[4])]


def test_the_best_run_of_a_size_is_that_of_least_loss() -> None:
    rows = [
        {**ROW, "id": "x", "loss_nats": "2.9", "bits_per_byte": "4.1"},
        {**ROW, "id": "y", "loss_nats": "3.1", "bits_per_byte": "3.9"},
        {**ROW, "id": "z", "N": "100"},
    ]
    assert [row["id"] for row in best_of_sizes(rows)] == ["z", "y"]
    for row in rows:
        row["bits_per_byte"] = ""
    assert [row["id"] for row in best_of_sizes(rows)] == ["z", "x"]
    many = [{"id": str(k)} for k in range(40)]
    kept = [int(row["id"]) for row in thinned(many, 12)]
    assert len(kept) == 12 and kept[0] == 0 and kept[-1] == 39 and kept == sorted(kept)


@pytest.mark.parametrize(("flag", "value"), [("--temperature", "0"), ("--tokens", "-1")])
def test_a_setting_that_cannot_be_is_one_sentence(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    assert call(study, tmp_path / "s.json", flag, value) == 2
    assert f"{flag[2:]}: found {value}" in capsys.readouterr().err
    assert not (tmp_path / "s.json").exists()


def test_a_tokenizer_that_is_not_there_is_named(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    (copy / "corpora" / "c" / "tokenizer.json").unlink()
    assert call(copy, tmp_path / "s.json") == 2
    assert "tokenizer.json: no such file" in capsys.readouterr().err


def test_a_table_without_a_good_run_gives_an_empty_file(study: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    words = ["samples", "--runs", str(tmp_path / "runs.csv"), "--runs-root", str(study / "runs")]
    words += ["--corpora", str(study / "corpora"), "--out", str(tmp_path / "s.json")]
    assert main(words) == 0
    found = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert (found["prompts"], found["sizes"]) == ([], [])
