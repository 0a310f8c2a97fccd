"""The verb `evaluate`: a trained run and a corpus in, one small JSON file out."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from scalelab.corpus.shards import Corpus, load
from scalelab.errors import UserError
from scalelab.evaluation.perplexity import held_out, token_losses
from scalelab.files import read_json, write_json
from scalelab.models import LanguageModel, build, load_weights
from scalelab.plan.families import Shape
from scalelab.plan.labels import label_of
from scalelab.provenance import manifest
from scalelab.training import machine


def evaluate(
    run_folder: Path,
    corpus_folder: Path,
    settings: dict[str, Any],
    out: Path,
    threads: int,
    report: Callable[[str], None],
    label: str = "",
) -> dict[str, Any]:
    """Score a run on a held-out split and write the result to `out`.

    `settings` holds split, context and stride (tokens); without a context it is the one that the
    run was trained at, without a stride windows do not overlap. A run whose status is not ok is
    passed over: its losses are null and its status stands in the file.

    Raises:
        UserError: a file is missing or damaged, or the context exceeds the model's.
    """
    run = read_json(run_folder / "run.json")
    label = label or label_of(run["spec"])
    corpus = load(corpus_folder)
    context = settings["context"] or run["spec"]["model"]["context"]
    stride = context if settings["stride"] is None else settings["stride"]
    settings = {**settings, "context": context, "stride": stride}
    result: dict[str, Any] = {
        "run": run["id"],
        "status": run["status"],
        "settings": settings,
        "loss_nats": None,
        "loss_nats_se": None,
        "perplexity": None,
        "bits_per_byte": None,
        "tokens": None,
        "bytes": None,
        "text_sha256": corpus.manifest["files"][f"{settings['split']}.bin"],
        "seconds": None,
        "provenance": manifest([run["spec"], settings], corpus.manifest["data_hash"]),
    }
    if run["status"] == "ok":
        machine.set_up(threads)
        model, shape = load_model(run_folder, run)
        if settings["context"] > shape.context:
            raise UserError(
                f"evaluation.context: found {settings['context']}, expected at most the "
                f"{shape.context} tokens of the model"
            )
        if not 0 < settings["stride"] <= settings["context"]:
            raise UserError(
                f"evaluation.stride: found {settings['stride']}, expected 1 to the context of "
                f"{settings['context']} tokens"
            )
        start = time.monotonic()
        # The stream starts with a separator, which is given, not predicted.
        losses = token_losses(
            model.to(machine.device()),
            corpus.tokens[settings["split"]][1:],
            corpus.separator,
            settings["context"],
            settings["stride"],
        )
        score = held_out(
            losses, documents(corpus, settings["split"])[1:], corpus.bytes(settings["split"])
        )
        result |= {
            "loss_nats": score.loss_nats,
            "loss_nats_se": score.standard_error,
            "perplexity": score.perplexity,
            "bits_per_byte": score.bits_per_byte,
            "tokens": score.tokens,
            "bytes": score.bytes,
            "seconds": round(time.monotonic() - start, 3),
        }
        report(
            f"{label}: held-out loss {score.loss_nats:.4f} nats/token, "
            f"{score.bits_per_byte:.4f} bits/byte on {score.tokens:,} tokens"
        )
    else:
        report(f"{label}: not evaluated, the run ended as {run['status']} ({run['reason']})")
    write_json(out, result)
    return result


def load_model(run_folder: Path, run: dict[str, Any]) -> tuple[LanguageModel, Shape]:
    """The model of a finished run, read from its checkpoint."""
    path = run_folder / "checkpoint" / "model.safetensors"
    try:
        weights = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: expected the weights of the run, but {error}") from None
    shape = Shape(**run["spec"]["model"])
    model = build(shape, seed=0)
    load_weights(model, shape, weights)
    return model, shape


def documents(corpus: Corpus, split: str) -> np.ndarray:
    """Document number of each token of a held-out split, shape (tokens,).

    A separator belongs to the document before it.
    """
    pieces = corpus.pieces[split]
    starts, owners = pieces[:, 0], pieces[:, 2]
    position = np.arange(len(corpus.tokens[split]))
    return owners[np.maximum(np.searchsorted(starts, position, side="right") - 1, 0)]
