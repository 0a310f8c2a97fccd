"""The verb `measure`: a run, its corpus and the name of a measure in, a small JSON file out."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus.coder import load as load_coder
from scalelab.corpus.shards import Corpus, load
from scalelab.evaluation.checkpoint import open_checkpoint
from scalelab.evaluation.measures import (
    FEWEST,
    Estimate,
    Make,
    NotMeasured,
    Planted,
    Subject,
    batches,
    get,
    logits_of,
    without_canaries,
)
from scalelab.evaluation.spread import spread
from scalelab.files import read_json, write_json
from scalelab.plan.families import Shape, objective
from scalelab.plan.labels import label_of
from scalelab.plan.objectives import CAUSAL
from scalelab.provenance import manifest
from scalelab.training import machine
from scalelab.training.batches import Batches, batches_for


def take(
    run_folder: Path,
    corpus_folder: Path,
    settings: dict[str, Any],
    out: Path,
    threads: int,
    report: Callable[[str], None],
    processes: int = 1,
) -> dict[str, Any]:
    """Take a measure of a run and write it to `out`.

    `settings` holds measure, split, windows (how many at most) and seed. What cannot be measured
    (the run did not end well, there is too little text) has a reason in the place of estimates.
    threads: of each of the processes, which share the texts that the model writes.

    Raises:
        UserError: a file is missing or damaged, or a process has no device of its own.
        Lost: one of several processes has ended.
    """
    run = read_json(run_folder / "run.json")
    corpus = load(corpus_folder)
    result: dict[str, Any] = {
        "run": run["id"],
        "settings": settings,
        "estimates": {},
        "reason": None,
        "seconds": None,
        "provenance": manifest([run["spec"], settings], corpus.manifest["data_hash"]),
    }
    began = time.monotonic()
    try:
        subject = subject_of(run_folder, run, corpus, corpus_folder, settings, threads, processes)
        found = _finite(get(settings["measure"]), subject)
        result["estimates"] = {name: asdict(one) for name, one in found.items()}
        result["seconds"] = round(time.monotonic() - began, 3)
    except NotMeasured as reason:
        result["reason"] = str(reason)
    told = ", ".join(f"{name} {one['value']:.4g}" for name, one in result["estimates"].items())
    report(f"{label_of(run['spec'])}: {settings['measure']}: {told or result['reason']}")
    write_json(out, result)
    return result


def _finite(measure: Make, subject: Subject) -> Mapping[str, Estimate]:
    """What a measure gives; `NotMeasured` where the model or the measure has no finite numbers."""
    first = next(batches(subject.windows[:1]))
    if not logits_of(subject, first[:, :-1]).logits.isfinite().all():
        raise NotMeasured("the model gives logits that are not finite")
    found = measure(subject)
    odd = [name for name, one in found.items() if not math.isfinite(one.value + (one.se or 0))]
    if odd:
        raise NotMeasured(f"{', '.join(odd)} came out as no finite number")
    return found


def subject_of(
    folder: Path,
    run: dict[str, Any],
    corpus: Corpus,
    corpus_folder: Path,
    settings: dict[str, Any],
    threads: int,
    processes: int = 1,
) -> Subject:
    """The model of a run and the text that it is asked about; `NotMeasured` where there is none."""
    if run["status"] != "ok":
        raise NotMeasured(f"the run ended as {run['status']}")
    if objective(run["spec"]["model"]["family"]) is not CAUSAL:
        raise NotMeasured("its family reads both sides of a token, and measures are of causal ones")
    context, most = run["spec"]["model"]["context"], settings["windows"]
    alone = run["spec"]["training"].get("attention", "stream") == "documents"
    windows = windows_of(corpus, settings["split"], context, most, alone)
    if len(windows) < FEWEST:
        of = "documents as long as" if alone else "windows of"
        raise NotMeasured(f"{len(windows)} {of} its context, expected {FEWEST} or more")
    machine.set_up(threads)
    model = open_checkpoint(folder / "checkpoint")
    decode = decoder_of(model, folder / "checkpoint")
    return Subject(
        model=model,
        windows=windows,
        blocks=partial(blocks_of, corpus, run, most),
        known=np.unique(corpus.tokens[settings["split"]]),
        separator=corpus.separator,
        seed=settings["seed"],
        decode=decode,
        planted=partial(planted_in, corpus_folder, corpus, run),
        texts=decode and partial(texts_of, corpus, settings["split"], decode),
        folder=folder / "checkpoint",
        settings=settings,
        spread=partial(spread, folder=folder / "checkpoint", processes=processes, threads=threads),
    )


def decoder_of(model: Any, folder: Path) -> Callable[[Iterable[np.ndarray]], list[str]] | None:
    """Texts of rows of ids by the tokenizer of a checkpoint, for a model that `generate`s."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not (model.can_generate() and path.is_file()):
        return None
    tokenizer = Tokenizer.from_file(str(path))
    return lambda rows: tokenizer.decode_batch(
        [row.tolist() for row in rows], skip_special_tokens=False
    )


def texts_of(
    corpus: Corpus, split: str, decode: Callable[[Iterable[np.ndarray]], list[str]]
) -> list[str]:
    """The first piece of each document of a split."""
    tokens, pieces = corpus.tokens[split], corpus.pieces[split]
    first = pieces[np.unique(pieces[:, 2], return_index=True)[1]]
    return decode([tokens[start:end] for start, end, *_ in first.tolist()])


def blocks_of(corpus: Corpus, run: dict[str, Any], most: int, seen: bool) -> np.ndarray:
    """(W, context + 1) ids of blocks of the training split that a run saw, or would see next.

    At most `most` of each, evenly apart in the order in which they were seen.
    """
    data, context = batches_of(corpus, run), run["spec"]["model"]["context"]
    met, others = data.parted(run["D"] // context)
    order = met if seen else others
    if len(order) > most:
        order = order[np.linspace(0, len(order) - 1, most).round().astype(int)]
    return np.asarray(data.tokens[order[:, None] * context + data.offsets], dtype=np.int64)


def batches_of(corpus: Corpus, run: dict[str, Any]) -> Batches:
    """What a run was trained on, in its order."""
    spec = run["spec"]
    return batches_for(
        Shape(**spec["model"]), spec["training"], spec["seed"], corpus.tokens["train"]
    )


def planted_in(folder: Path, corpus: Corpus, run: dict[str, Any]) -> Planted:
    """The canaries of a corpus, and how often a run saw each whole: not cut by the end of a block.

    Raises:
        NotMeasured: the corpus has none.
    """
    facts = corpus.manifest.get("canaries")
    if facts is None:
        return without_canaries()
    data, context = batches_of(corpus, run), run["spec"]["model"]["context"]
    views = data.views(run["D"] // context)
    seen = []
    for canary in facts["canaries"]:
        places = np.array(canary["places"], dtype=np.int64)
        blocks = places // context
        # A block's last target is the first token of the one after it.
        whole = places + canary["tokens"] <= (blocks + 1) * context + 1
        seen.append(int(views[blocks[whole]].sum()))
    return Planted(facts["canaries"], facts["space"], np.array(seen), load_coder(folder).encode)


def windows_of(corpus: Corpus, split: str, context: int, most: int, alone: bool) -> np.ndarray:
    """(W, context + 1) ids: the separator before a document, then the text from its first token on.

    At most `most`, evenly apart in the split. alone: only documents that fill the window.
    """
    tokens, pieces = corpus.tokens[split], corpus.pieces[split]
    first = pieces[np.unique(pieces[:, 2], return_index=True)[1]]
    first = first[np.argsort(first[:, 0], kind="stable")]
    # What is before a document's first token is the separator of the one before it.
    fits = (first[:, 0] > 0) & (first[:, 0] + context <= len(tokens))
    fits &= tokens[np.maximum(first[:, 0] - 1, 0)] == corpus.separator
    if alone:
        fits &= first[:, 1] - first[:, 0] >= context
    starts = first[fits, 0]
    if len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
    return np.asarray(tokens[starts[:, None] - 1 + np.arange(context + 1)], dtype=np.int64)
