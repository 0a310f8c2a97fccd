"""Evaluation sets: texts beside a corpus that its models are scored on too.

A set is prepared beside a finished corpus and changes nothing in it: its tokenizer is that of the
corpus, and what stands in the training split is cut out of the set. So a further set is scored
without training anything anew.
"""

import heapq
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.config import CorpusConfig
from scalelab.corpus import coder as coding
from scalelab.corpus.cleaning import cleaning
from scalelab.corpus.documents import Document, Tally, order_key, utf8_size
from scalelab.corpus.manifest import held_out_documents, piece_bytes
from scalelab.corpus.overlap import random_table, repeated_elsewhere, shared_windows
from scalelab.corpus.shards import load, write_tokens
from scalelab.corpus.sources import get_source
from scalelab.corpus.split import SHARES, Split, cap, fill
from scalelab.errors import UserError
from scalelab.files import canonical_json, digest, file_sha256, finished, write_json
from scalelab.provenance import manifest as provenance
from scalelab.seeds import stream

FORMAT = 1
BYTES_PER_TOKEN = 16
"""No tokenizer packs more bytes into a token of ordinary text."""
SLACK = 4
"""Text is kept for so many times the tokens that are wanted, for what will be cut out of it."""
NOTEWORTHY = 0.1
"""Share of a set that may stand in the training split before it is said aloud."""

Report = Callable[[str], None]


def prepare_set(spec: dict[str, Any], corpus: Path, out: Path, report: Report) -> dict[str, Any]:
    """Write the evaluation set of `spec` into the folder `out` and return its manifest.

    Args:
        spec: from `scalelab.plan.sets`: `{"format", "name", "tokens", "config", "fingerprint"}`.
        corpus: folder of the finished corpus whose tokenizer and training split count.
        out: folder for tokens.bin, docs.json and, last, manifest.json.
        report: called with a line of progress at a time.

    Raises:
        UserError: the text cannot be read, or too little of it does not stand in the training
            split; the message says how many tokens there are.
    """
    if spec.get("format") != FORMAT:
        raise UserError(f"evaluation set: format {spec.get('format')!r}, expected {FORMAT}")
    spec = json.loads(canonical_json(spec))
    found = load(corpus)
    wanted = (spec, found.manifest["data_hash"])
    done = finished(out, lambda manifest: (manifest["spec"], manifest["corpus"]) == wanted)
    if done is not None:
        report(f"set {spec['name']}: is complete, nothing to do")
        return done
    (out / "manifest.json").unlink(missing_ok=True)
    of_corpus = {**asdict(CorpusConfig()), **found.manifest["spec"]["config"]}
    seed = found.manifest["spec"]["seed"]

    read, removed = Tally(), Tally()
    config = {**asdict(CorpusConfig()), **spec["config"]}
    chain = cleaning(_of_set(of_corpus), found.manifest["spec"]["fingerprint"], report)
    source = get_source(config["source"])
    documents = front(
        chain.chain(source(config, spec["fingerprint"], read, report)),
        spec["tokens"],
        stream(seed, "corpus order"),
        of_corpus["min_document_bytes"],
        removed,
    )
    if not documents:
        told = {**read.documents, **removed.documents}
        raise UserError(f"evaluation set {spec['name']}: no text is left: {told}")
    coder = coding.load(corpus)
    ids = list(coder.encode(document.text for document in documents))
    width = of_corpus["overlap_tokens"]
    table = random_table(found.vocab_size, stream(seed, "corpus overlap"))
    train = found.tokens["train"]
    parts = _cut(spec, ids, train, width, table, coder.separator_id)
    coder.check(documents[: parts.used], ids[: parts.used])
    held = parts.heldout[0]
    share = parts.overlap_tokens / max(parts.seen_tokens, 1)
    report(
        f"set {spec['name']}: {len(held.ids):,} tokens of {len(held.documents):,} documents; "
        f"{share:.1%} of their tokens stood elsewhere and were cut out"
    )
    if share > NOTEWORTHY:
        report(f"set {spec['name']}: much of this text is training text, look at its source")
    sizes = piece_bytes(coder, held, documents, ids)
    again, windows = shared_windows(held.ids, train, width or 32, coder.separator_id, table)
    out.mkdir(parents=True, exist_ok=True)
    write_tokens(out / "tokens.bin", held.ids, found.vocab_size)
    write_json(out / "docs.json", held_out_documents(held, documents, sizes))
    result = {
        "id": digest(spec),
        "name": spec["name"],
        "corpus": found.manifest["data_hash"],
        "split": {
            "documents": len(held.documents),
            "pieces": len(held.pieces),
            "tokens": len(held.ids),
            "bytes": sum(sizes),
            "bytes_per_token": sum(sizes) / max(int((held.ids != coder.separator_id).sum()), 1),
        },
        "read": read.as_dict(),
        "removed": removed.as_dict(),
        **({"cleaning": chain.as_dict()} if chain.as_dict() else {}),
        "overlap": {
            "window_tokens": width,
            "tokens_seen": parts.seen_tokens,
            "tokens_removed": parts.overlap_tokens,
            "share_removed": share,
            "windows_in_training": again / max(windows, 1),
            "documents_without_piece": parts.documents_without_piece,
            "largest_share_of_a_document": parts.largest_share,
        },
        "files": {name: file_sha256(out / name) for name in ("tokens.bin", "docs.json")},
        "spec": spec,
        "provenance": provenance(spec, found.manifest["data_hash"]),
    }
    write_json(out / "manifest.json", result)
    return result


def _of_set(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a corpus for a set: its text is treated alike, but it may well be a
    benchmark, or in a language that the corpus leaves out."""
    steps = config["cleaning"]
    return {
        **config,
        "benchmarks": None,
        "cleaning": None if steps is None else {**steps, "languages": ()},
    }


def front(
    documents: Iterable[Document], tokens: int, seed: int, min_bytes: int, removed: Tally
) -> list[Document]:
    """The first documents in the order of their hash that are likely to do, each text once.

    Memory is bounded by what is wanted, not by the source: a document counts with no more bytes
    than one may fill of a set, and what lies behind the bytes wanted is dropped as it comes.
    """
    largest = BYTES_PER_TOKEN * cap(tokens, SHARES[0])
    budget = SLACK * BYTES_PER_TOKEN * tokens
    kept: dict[bytes, Document] = {}
    order: list[tuple[int, bytes]] = []
    total = 0
    for document in documents:
        size = utf8_size(document.text)
        if size < min_bytes:
            removed.add("short", size)
            continue
        key = order_key(document.text, seed)
        if key in kept:
            removed.add("exact duplicate", size)
            if document.name < kept[key].name:  # whatever the order of reading
                kept[key] = document
            continue
        kept[key] = document
        heapq.heappush(order, (-int.from_bytes(key, "big"), key))
        total += min(size, largest)
        while total - min(utf8_size(kept[order[0][1]].text), largest) >= budget:
            last = kept.pop(heapq.heappop(order)[1])
            total -= min(utf8_size(last.text), largest)
            removed.add("not needed", utf8_size(last.text))
    return [kept[key] for key in sorted(kept)]


def _cut(
    spec: dict[str, Any],
    ids: list[np.ndarray],
    train: np.ndarray,
    width: int,
    table: np.ndarray,
    separator: int,
) -> Split:
    """The set, with what stands in training or twice in it cut out."""
    if width:
        covered = repeated_elsewhere(ids, train, width, table)
    else:
        covered = [np.zeros(len(row), dtype=bool) for row in ids]
    sizes = {spec["name"]: spec["tokens"]}
    tries = (fill(ids, covered, sizes, share, separator) for share in SHARES)
    result = next((split for split in tries if split is not None), None)
    if result is None:
        there, free = sum(map(len, ids)), sum(int((~row).sum()) for row in covered)
        raise UserError(
            f"evaluation set {spec['name']}: {spec['tokens']:,} tokens are wanted, at most a "
            f"quarter of them from one document, but its {len(ids):,} documents have {there:,} "
            f"tokens, of which {there - free:,} stand in the training split or twice in the set "
            f"and {free:,} are left; lower its tokens or give it more text"
        )
    return result
