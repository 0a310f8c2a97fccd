"""A folder to call the documented commands in: the tree, and small inputs of the names they use."""

import contextlib
import math
import os
import random
import shutil
from pathlib import Path

import pytest
from documentation import ROOT
from results_folder import Results

from scalelab.cli import main
from scalelab.corpus.card import Card
from scalelab.files import write_json

TREE = ("Snakefile", "workflow", "profiles", "environment.yml", "benchmarks", "scalelab", "tests")
MAKE = ("Makefile", "requirements.lock", "pyproject.toml")
PROJECT = "Name,State,num_params,tokens,eval/loss\na,finished,100000,2000000,5.1\nb,crashed,1,1,9\n"
LOG = "run,step,non_embedding_params,val_loss\nsmall,1000,1M,4.2\nsmall,2000,1M,3.9\n"
STUDY = """\
study: my-study
corpus: {source: files, paths: ["texts/*.txt"], tokenizer: bytes}
model: {depth: 1, heads: 2, context: 32}
ladder: {widths: [8, 16, 32]}
training: {tokens: 60k, batch_tokens: 256}
"""


def finished_runs() -> str:
    """A grid of N and D over the law of Hoffmann et al. 2022 with 0.2% noise, as a CSV."""
    rng = random.Random(3)
    lines = ["N,D,C,seed,loss_nats,status"]
    for n in (1e6, 3e6, 1e7, 3e7, 1e8):
        for ratio in (5, 80):
            d = n * ratio
            loss = (1.69 + 406 * n**-0.34 + 411 * d**-0.28) * math.exp(rng.gauss(0, 0.002))
            lines.append(f"{n:.0f},{d:.0f},{6 * n * d:.4g},1,{loss:.5f},ok")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def furnished(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, to be copied."""
    desk = tmp_path_factory.mktemp("desk") / "desk"
    desk.mkdir()
    for name in TREE:
        (desk / name).symlink_to(ROOT / name)
    for name in MAKE:
        shutil.copy2(ROOT / name, desk)
    shutil.copytree(ROOT / "config", desk / "config")
    (desk / "runs.csv").write_text(finished_runs(), encoding="utf-8")
    (desk / "project.csv").write_text(PROJECT, encoding="utf-8")
    (desk / "log.csv").write_text(LOG, encoding="utf-8")
    (desk / "texts").mkdir()
    for number in range(40):
        words = random.Random(number).choices(["these", "are", "words", "of", "a", "text"], k=900)
        (desk / "texts" / f"{number}.txt").write_text(" ".join(words), encoding="utf-8")
    (desk / "questions").mkdir()
    question = '{"question": "' + "how many words are in these few words of text and why " * 2
    (desk / "questions" / "set.jsonl").write_text(question + '"}\n', encoding="utf-8")
    for name in ("STUDY.yaml", "config/NAME.yaml", "config/mine.yaml"):
        (desk / name).write_text(STUDY, encoding="utf-8")
    (desk / "SOURCE.csv").write_text("N,D,loss_nats,corpus\n1M,20M,3.5,c4\n", encoding="utf-8")
    _results(desk, trained)
    return desk


def _results(desk: Path, trained: Path) -> None:
    """Two studies that share runs, a run of none, a study of N and D, a run of the Trainer."""
    results = Results(desk / "results", trained)
    for study, widths in (("micro", (8, 16, 24)), ("widen", (16, 24, 48))):
        specs = {f"d{width}-s1": results.spec(width) for width in widths}
        for name, spec in specs.items():
            if not (results.root / "runs" / results.identity(spec)).exists():
                results.add(spec, 1.8 + 20 * int(name[1:-3]) ** -0.8)
        results.plan(study, specs)
    results.add(results.spec(16, lr=0.003), 3.0)
    (results.root / "first").mkdir()
    fit = ["fit", "runs.csv", "--fits", '[{"law": "power_offset", "x": "N"}]', "--study", "first"]
    track = ["track", "--plan", "results/micro/plan.json", "--runs-root", "results/runs"]
    track += ["--folder", "results/micro"]
    with contextlib.chdir(desk):
        assert main([*fit, "--json", "results/first/laws.json"]) == 0
        assert main([*track, "--out", "results/micro/track.json"]) == 0
        _laws_of_micro()
        assert main([*track, "--fit", "--out", "results/micro/track_fit.json"]) == 0
    _isoflop(desk)
    card = Card()
    for tokens in (3, 200, 250):
        card.add("a text of some words " * 20, tokens)
    manifest = {"id": "0a1b2c3d4e5f", "data_hash": "0" * 64, "read": {}, "removed": {}}
    manifest["tokenizer"] = {"vocab_size": 257, "ids_used_in_training": 30}
    write_json(results.root / "corpora" / "0a1b2c3d4e5f" / "card.json", card.as_dict(manifest))
    (results.root / "my-study").mkdir()
    shutil.copy(desk / "runs.csv", results.root / "my-study")
    log = [{"step": 2, "eval_loss": 4.0, "num_input_tokens_seen": 128}]
    state = {"global_step": 2, "max_steps": 2, "log_history": log}
    write_json(desk / "gpt2-small" / "trainer_state.json", state)
    shutil.copy(trained / "checkpoint" / "model.safetensors", desk / "gpt2-small")


def _laws_of_micro() -> None:
    """From the runs of that study to its tables, in the working folder."""
    study = "results/micro"
    table, laws = f"{study}/runs.csv", f"{study}/laws.json"
    collect = ["collect", "--plan", f"{study}/plan.json", "--runs-root", "results/runs"]
    assert main([*collect, "--out", table, "--checkpoints", f"{study}/checkpoints"]) == 0
    fit = ["fit", table, "--fits", '[{"law": "power", "x": "N"}]', "--study", "micro"]
    assert main([*fit, "--json", laws]) == 0
    assert main(["tables", "--runs", table, "--laws", laws, "--out", f"{study}/tables"]) == 0


def _isoflop(desk: Path) -> None:
    """A study of IsoFLOP curves over the same law, with its answer."""
    folder = desk / "results" / "isoflop"
    folder.mkdir()
    lines = ["id,label,N,D,C,budget,loss_nats,status"]
    for budget in (1e15, 1e16, 1e17):
        for factor in (0.25, 0.5, 1, 2, 4):
            n = round((budget / 120) ** 0.5 * factor)
            d = round(budget / 6 / n)
            loss = 1.69 + 406 * n**-0.34 + 411 * d**-0.28
            lines.append(f"r{n},r{n},{n},{d},{budget},{budget},{loss:.5f},ok")
    (folder / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ["--fits", '[{"law": "chinchilla"}]', "--answers", '[{"answer": "frontier"}]']
    table = "results/isoflop/runs.csv"
    with contextlib.chdir(desk):
        assert main(["fit", table, *asked, "--json", "results/isoflop/laws.json"]) == 0


@pytest.fixture
def desk(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the working folder."""
    folder = tmp_path / "desk"
    shutil.copytree(furnished, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    # Where the copy of the tree is, not where the tests were started.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return folder
