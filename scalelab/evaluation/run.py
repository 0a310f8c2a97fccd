"""The verb `evaluate`: a trained run and a corpus in, one small JSON file out."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus.shards import Corpus, EvaluationSet, load, load_set
from scalelab.errors import UserError
from scalelab.evaluation.both_sides import conditional_losses, pseudo_losses
from scalelab.evaluation.columns import EXTENT, SCORES
from scalelab.evaluation.perplexity import held_out, token_losses
from scalelab.files import read_json, write_json
from scalelab.models import LanguageModel
from scalelab.models.checkpoint import load_model
from scalelab.plan.families import Shape, objective
from scalelab.plan.labels import label_of
from scalelab.plan.objectives import CAUSAL, MASKED_TOKENS, SPANS, Objective
from scalelab.provenance import manifest
from scalelab.training import machine

BOS = "separator, not scored"
"""What stands before the first token, alike for models of all sizes."""


def evaluate(
    run_folder: Path,
    corpus_folder: Path,
    settings: dict[str, Any],
    out: Path,
    threads: int,
    report: Callable[[str], None],
    label: str = "",
) -> dict[str, Any]:
    """Score a run on a held-out split, and on evaluation sets, and write the result to `out`.

    `settings` holds split, context and stride (tokens); without a context it is the one that the
    run was trained at, without a stride windows do not overlap. Its key sets, where there is one,
    has the ids of the sets by name; they lie in `sets/<id>` of the corpus's folder and are scored
    alike. A run whose status is not ok is passed over: its losses are null and its status stands in
    the file. So are they where a loss comes out as no finite number: the status is diverged then.

    Raises:
        UserError: a file is missing or damaged, or the context exceeds the model's.
    """
    run = read_json(run_folder / "run.json")
    label = label or label_of(run["spec"])
    corpus = load(corpus_folder)
    aim = objective(run["spec"]["model"]["family"])
    context = settings["context"] or run["spec"]["model"]["context"]
    stride = context if settings["stride"] is None else settings["stride"]
    settings = {**settings, "context": context, "stride": stride}
    texts = [_split(corpus, settings["split"]), *_sets(corpus, corpus_folder, settings)]
    result: dict[str, Any] = {
        "run": run["id"],
        "status": run["status"],
        "settings": settings,
        "bos": BOS,
        "quantity": aim.quantity,
        **_nothing(texts[0]),
        "seconds": None,
        "provenance": manifest([run["spec"], settings], corpus.manifest["data_hash"]),
    }
    if "sets" in settings:
        result["sets"] = {text.name: _nothing(text) for text in texts[1:]}
    if run["status"] == "ok":
        machine.set_up(threads)
        model, shape = load_model(run_folder, run, corpus.separator)
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
        model = model.to(machine.device())
        start = time.monotonic()
        losses_of = scorer(aim, shape, corpus.separator, context, stride)
        found = [_score(model, text, losses_of, whole=aim is CAUSAL) for text in texts]
        result["seconds"] = round(time.monotonic() - start, 3)
        broken = [text.name for text, one in zip(texts, found, strict=True) if not _finite(one)]
        if broken:
            why = f"the loss on {', '.join(broken)} is not finite"
            result |= {"status": "diverged", "reason": why}
            report(f"{label}: {why}")
        else:
            result |= found[0]
            if "sets" in settings:
                names = (text.name for text in texts[1:])
                result["sets"] = dict(zip(names, found[1:], strict=True))
            _tell(report, label, aim, texts, found)
    else:
        report(f"{label}: not evaluated, the run ended as {run['status']} ({run['reason']})")
    write_json(out, result)
    return result


def _finite(score: dict[str, Any]) -> bool:
    return math.isfinite(score["loss_nats"]) and math.isfinite(score["loss_nats_se"] or 0)


def _tell(
    report: Callable[[str], None],
    label: str,
    aim: Objective,
    texts: list[EvaluationSet],
    found: list[dict[str, Any]],
) -> None:
    for text, score in zip(texts, found, strict=True):
        where = aim.title if text is texts[0] else f"on {text.name}: loss"
        bits = score["bits_per_byte"]
        report(
            f"{label}: {where} {score['loss_nats']:.4f} nats/token, "
            + ("" if bits is None else f"{bits:.4f} bits/byte ")
            + f"on {score['tokens']:,} tokens"
        )


def _split(corpus: Corpus, split: str) -> EvaluationSet:
    """A held-out split of the corpus as a text to score."""
    sha256 = corpus.manifest["files"][f"{split}.bin"]
    return EvaluationSet(
        split, corpus.tokens[split], corpus.pieces[split], corpus.bytes(split), sha256
    )


def _sets(corpus: Corpus, folder: Path, settings: dict[str, Any]) -> list[EvaluationSet]:
    """The evaluation sets of the settings, which lie beside the corpus by their ids."""
    sets: dict[str, str] = settings.get("sets", {})
    return [load_set(folder / "sets" / identity, corpus.vocab_size) for identity in sets.values()]


def _nothing(text: EvaluationSet) -> dict[str, Any]:
    """The score of a run that gave none."""
    return {**dict.fromkeys((*SCORES, *EXTENT)), "text_sha256": text.sha256}


Scorer = Callable[[LanguageModel, np.ndarray], tuple[np.ndarray, np.ndarray]]


def scorer(aim: Objective, shape: Shape, separator: int, context: int, stride: int) -> Scorer:
    """What gives the places in a text that are scored, and the loss at each, in nats.

    The text starts with a separator, which is given, not predicted. Only causal models are scored
    on all of it, and in windows that overlap where the stride says so.
    """
    if aim is MASKED_TOKENS:
        return lambda model, tokens: pseudo_losses(model, tokens, context, shape.vocab)
    if aim is SPANS:
        return lambda model, tokens: conditional_losses(model, tokens, context, shape.vocab)
    return lambda model, tokens: (
        np.arange(1, len(tokens)),
        token_losses(model, tokens[1:], separator, context, stride),
    )


def _score(
    model: LanguageModel, text: EvaluationSet, losses_of: Scorer, whole: bool
) -> dict[str, Any]:
    """What a text gives. whole: the losses together are that of the text, so it has bits a byte."""
    places, losses = losses_of(model, text.tokens)
    clusters = owners(text.tokens, text.pieces)[places]
    score = held_out(losses, clusters, text.bytes if whole else None)
    return {
        "loss_nats": score.loss_nats,
        "loss_nats_se": score.standard_error,
        "perplexity": score.perplexity,
        "bits_per_byte": score.bits_per_byte,
        "tokens": score.tokens,
        "bytes": score.bytes,
        "text_sha256": text.sha256,
    }


def documents(corpus: Corpus, split: str) -> np.ndarray:
    """Document number of each token of a held-out split, shape (tokens,)."""
    return owners(corpus.tokens[split], corpus.pieces[split])


def owners(tokens: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Document number of each token, shape (tokens,). A separator is of the document before it."""
    starts, numbers = pieces[:, 0], pieces[:, 2]
    position = np.arange(len(tokens))
    return numbers[np.maximum(np.searchsorted(starts, position, side="right") - 1, 0)]
