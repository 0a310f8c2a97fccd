"""States of Hugging Face's Trainer: written by hand, and by the real one."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.files import write_json
from scalelab.laws import read_runs
from scalelab.library import parameters

Call = Callable[..., tuple[int, str, str]]
SHAPES = {
    "transformer.wte.weight": [64, 16],
    "transformer.wpe.weight": [16, 16],
    "transformer.h.0.attn.c_attn.weight": [16, 48],
    "transformer.h.0.attn.bias": [1, 1, 16, 16],  # the mask that older checkpoints hold
    "transformer.ln_f.bias": [16],
}
N, EMBEDDING = 16 * 48 + 16, 64 * 16 + 16 * 16


def state(folder: Path, step: int = 6, **changes: Any) -> Path:
    """A state after so many of six steps, evaluated every third."""
    log: list[dict[str, Any]] = []
    for at in range(1, step + 1):
        log.append({"step": at, "loss": 5 - at / 10, "num_input_tokens_seen": 64 * at})
        if at % 3 == 0:
            log.append({"step": at, "eval_loss": 4 - at / 10, "num_input_tokens_seen": 64 * at})
    content = {
        "global_step": step,
        "max_steps": 6,
        "num_input_tokens_seen": 64 * step,
        "total_flos": 1000.0 * step,
        "log_history": log,
    }
    write_json(folder / "trainer_state.json", {**content, **changes})
    return folder


def weights(folder: Path, shapes: dict[str, list[int]] = SHAPES) -> None:
    """The header of a safetensors file; its data is not read."""
    about = {
        name: {"dtype": "F32", "shape": s, "data_offsets": [0, 0]} for name, s in shapes.items()
    }
    text = json.dumps({"__metadata__": {"format": "pt"}, **about}).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def test_loss_tokens_flops_and_size(scalelab: Call, tmp_path: Path) -> None:
    for step in (3, 6):
        weights(state(tmp_path / "small" / f"checkpoint-{step}", step))
    state(tmp_path / "small")  # save_state without save_model
    out = tmp_path / "runs.csv"
    code, _, notes = scalelab("import", tmp_path / "small", "--out", out, "--dataset", "c4")
    assert (code, "'small' is there 3 times" in notes) == (0, True)
    (row,) = read_runs(out).to_dict("records")
    assert (row["N"], row["N_embedding"], row["N_total"]) == (N, EMBEDDING, N + EMBEDDING)
    assert (row["loss_nats"], row["D"], row["C"]) == (4 - 0.6, 384, 6000)
    assert (row["label"], row["status"], row["steps"]) == ("small", "ok", 6)


def test_what_is_not_counted_is_asked_for(scalelab: Call, tmp_path: Path) -> None:
    log = [{"step": 3, "eval_loss": 4.0}, {"step": 6, "loss": 3.0}]
    folder = state(tmp_path / "run", log_history=log, num_input_tokens_seen=0, total_flos=0)
    words = ["import", folder, "--out", tmp_path / "runs.csv", "--dataset", "c4"]
    code, _, err = scalelab(*words)
    assert (code, "--params" in err) == (2, True)
    words += ["--params", "1M"]
    code, _, err = scalelab(*words)
    assert (code, "--tokens-per-step" in err) == (2, True)
    assert scalelab(*words, "--tokens-per-step", "1k", "--unit", "bits")[0] == 0
    (row,) = read_runs(tmp_path / "runs.csv").to_dict("records")
    assert (row["D"], row["C_6ND"]) == (3000, 6 * 1e6 * 3000), "at the step of the loss"
    assert row["loss_nats"] == pytest.approx(4.0 * 0.6931471805599453)
    assert "C" not in row


def test_a_run_that_stopped_early_stays_out(scalelab: Call, tmp_path: Path) -> None:
    weights(state(tmp_path / "a"))
    weights(state(tmp_path / "b", 4))
    out = tmp_path / "runs.csv"
    code, _, notes = scalelab(
        "import", tmp_path / "a", tmp_path / "b", "--out", out, *["--dataset", "x"]
    )
    assert (code, "'b' is unfinished (step 4 of 6" in notes) == (0, True)
    assert list(read_runs(out)["status"]) == ["ok", "unfinished"]


def test_several_held_out_sets_are_told_apart(scalelab: Call, tmp_path: Path) -> None:
    log = [{"step": 6, "eval_web_loss": 4.0, "eval_code_loss": 2.0, "num_input_tokens_seen": 9}]
    weights(state(tmp_path / "a", log_history=log))
    words = ["import", tmp_path / "a", "--out", tmp_path / "runs.csv", "--dataset", "code"]
    code, _, err = scalelab(*words)
    assert (code, "both 'eval_web_loss' and 'eval_code_loss'" in err) == (2, True)
    assert scalelab(*words, "--loss-column", "eval_code_loss")[0] == 0
    assert list(read_runs(tmp_path / "runs.csv")["loss_nats"]) == [2.0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "expected a Trainer's state"),
        ('{"global_step": "6", "log_history": []}', "expected a Trainer's state"),
        ('{"global_step": 6, "log_history": [{"loss": 1}]}', "expected entries with a step"),
        ("{", "expected a JSON file"),
    ],
)
def test_a_state_that_is_none(scalelab: Call, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "trainer_state.json").write_text(content)
    code, _, err = scalelab("import", tmp_path, "--out", tmp_path / "x.csv", "--dataset", "x")
    assert (code, err.count("\n"), sentence in err) == (2, 1, True)


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    from scalelab.errors import UserError

    for content in (b"", b"1234", struct.pack("<Q", 10**9), struct.pack("<Q", 3) + b"abc"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match="expected weights in safetensors"):
            parameters.count_beside(tmp_path)


def test_heads(tmp_path: Path) -> None:
    weights(tmp_path, {**SHAPES, "lm_head.weight": [64, 16]})
    assert parameters.count_beside(tmp_path)["N"] == N
    assert parameters.count_beside(tmp_path)["N_total"] == N + EMBEDDING + 64 * 16
    write_json(tmp_path / "config.json", {"tie_word_embeddings": True})
    assert parameters.count_beside(tmp_path)["N_total"] == N + EMBEDDING


@pytest.mark.parametrize(
    ("kind", "head"), [("gpt2", 0), ("llama", 64 * 16), ("none such", 64 * 16)]
)
def test_a_head_that_its_class_ties_counts_once(tmp_path: Path, kind: str, head: int) -> None:
    """Case F04: a checkpoint of transformers 4 that holds the matrix twice may not say so."""
    pytest.importorskip("transformers")
    weights(tmp_path, {**SHAPES, "lm_head.weight": [64, 16]})
    write_json(tmp_path / "config.json", {"model_type": kind})
    assert parameters.count_beside(tmp_path)["N_total"] == N + EMBEDDING + head


@pytest.mark.slow
def test_the_real_trainer(scalelab: Call, tmp_path: Path) -> None:
    import torch
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainingArguments,
    )

    torch.manual_seed(0)
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=16, vocab_size=64)
    model = GPT2LMHeadModel(config)
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 64, (32, 16))]
    settings = TrainingArguments(
        str(tmp_path / "gpt"),
        max_steps=4,
        per_device_train_batch_size=4,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        include_num_input_tokens_seen="all",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, settings, train_dataset=data, eval_dataset=data[:8])
    trainer.train()
    last = trainer.evaluate()["eval_loss"]
    out = tmp_path / "runs.csv"
    assert scalelab("import", tmp_path / "gpt", "--out", out, "--dataset", "noise")[0] == 0
    (row,) = read_runs(out).to_dict("records")
    own = model.num_parameters(exclude_embeddings=True)
    assert (row["N"], row["N_total"], row["D"]) == (own, model.num_parameters(), 4 * 4 * 16)
    assert row["loss_nats"] == pytest.approx(last)
    assert row["C"] == pytest.approx(row["C_6ND"]), "the Trainer counts 6 N D too"

    # Without weights the configuration tells the size, an untied head included.
    checkpoint = tmp_path / "gpt" / "checkpoint-4"
    counted = parameters.count_beside(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    assert parameters.count_beside(checkpoint) == counted
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    llama = LlamaConfig(vocab_size=64, num_hidden_layers=1, tie_word_embeddings=False, **shape)
    other = LlamaForCausalLM(llama)
    other.save_pretrained(tmp_path / "llama")
    counted = parameters.count_beside(tmp_path / "llama")
    assert counted["N_total"] == other.num_parameters()
    assert counted["N"] == other.num_parameters() - 2 * 64 * 16
    (tmp_path / "llama" / "model.safetensors").unlink()
    assert parameters.count_beside(tmp_path / "llama") == counted
