"""A checkpoint that `train` wrote, opened by transformers: the same loss, the same tokens."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from scalelab.corpus.shards import load
from scalelab.evaluation.perplexity import held_out, token_losses, windows
from scalelab.evaluation.run import documents, evaluate, load_model
from scalelab.files import read_json, write_json
from scalelab.models import build, export, registry
from scalelab.plan.families import Shape, objective
from scalelab.plan.objectives import CAUSAL

transformers = pytest.importorskip("transformers")


def test_transformers_gives_the_same_held_out_loss(trained: Path, corpus_folder: Path) -> None:
    corpus = load(corpus_folder)
    ours, shape = load_model(trained, read_json(trained / "run.json"), 0)
    stream = corpus.tokens["test"]
    assert stream[0] == corpus.separator
    losses = token_losses(ours, stream[1:], corpus.separator, 16, 8)
    mine = held_out(losses, documents(corpus, "test")[1:], corpus.bytes("test"))

    theirs = transformers.AutoModelForCausalLM.from_pretrained(trained / "checkpoint")
    theirs.eval()
    assert theirs.dtype == torch.float32
    assert (
        sum(p.numel() for p in theirs.parameters())
        == (read_json(trained / "run.json")["counts"]["N_total"])
    )
    tokens = torch.tensor(stream.tolist())
    spans = list(windows(len(tokens) - 1, shape.context, 8))
    assert len({end - start for start, end, _ in spans}) == 1
    with torch.no_grad():
        logits = theirs(torch.stack([tokens[start:end] for start, end, _ in spans])).logits.double()
    total = 0.0
    for row, (start, end, scored) in zip(logits.log_softmax(-1), spans, strict=True):
        targets = tokens[start + 1 : end + 1]
        picked = row.gather(1, targets[:, None]).squeeze(1)
        total -= picked[scored - start :].sum().item()
    assert total / (len(tokens) - 1) == pytest.approx(mine.loss_nats, abs=1e-4)
    assert mine.loss_nats < math.log(257) - 1, "the run has learned something"


@pytest.mark.parametrize("family", [n for n in registry.names() if objective(n) is CAUSAL])
def test_every_family_is_the_model_that_its_export_says(family: str, tmp_path: Path) -> None:
    shape = Shape(family, depth=2, width=8, heads=2, context=16, vocab=300)
    ours = build(shape, seed=3)
    with torch.no_grad():
        for parameter in ours.parameters():  # biases and norms too, which start at 0 and 1
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) / 4)
    config, weights = export(ours, shape)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    write_json(tmp_path / "config.json", config)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    inputs, targets = torch.randint(300, (2, 3, 16), generator=torch.manual_seed(2))
    with torch.no_grad():
        logits = theirs(inputs).logits
        losses = ours.losses(inputs, targets)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    assert torch.allclose(losses.flatten(), expected, atol=1e-4)


def test_the_tokenizer_opens_and_gives_the_text_back(trained: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "checkpoint")
    text = "x = 'é 漢'\n\n\tdef  f(a):  # <\n"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text.encode())
    assert tokenizer.eos_token_id == 0


def test_the_checkpoint_says_what_it_is(trained: Path) -> None:
    folder = trained / "checkpoint"
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True
    run = read_json(trained / "run.json")
    about = read_json(folder / "scalelab.json")
    assert about["run"] == run["id"]
    assert about["data_hash"] == run["provenance"]["data_hash"]
    assert run["checkpoint_bytes"] == sum(file.stat().st_size for file in folder.iterdir())


def test_losses_do_not_depend_on_dropout(
    trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    """Case T10: no family has dropout, so it is 0 in what a run leaves; here it is set to 0.5."""
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "config.json"
    config = read_json(path)
    keys = [key for key in config if "pdrop" in key or "dropout" in key]
    assert len(keys) == 3
    assert {config[key] for key in keys} == {0}
    write_json(path, {**config, **dict.fromkeys(keys, 0.5)})
    (path.parent / "sums.json").unlink()

    settings = {"format": 1, "split": "test", "context": 16, "stride": 16}
    found = [
        evaluate(run, corpus_folder, settings, tmp_path / "e.json", 1, lambda _: None)["loss_nats"]
        for run in (trained, trained, tmp_path / "run", tmp_path / "run")
    ]
    assert len(set(found)) == 1

    tokens = torch.randint(257, (4, 16), generator=torch.manual_seed(0))

    def loss(run: Path, training: bool) -> float:
        model = transformers.AutoModelForCausalLM.from_pretrained(run / "checkpoint")
        with torch.no_grad():
            return float(model.train(training)(tokens, labels=tokens).loss)

    expected = loss(trained, training=False)
    assert loss(trained, training=True) == expected
    assert loss(tmp_path / "run", training=False) == expected
    assert loss(tmp_path / "run", training=True) != expected, "0.5 is dropout indeed"
