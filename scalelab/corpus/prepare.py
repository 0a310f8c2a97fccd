"""From a specification to token files: read, clean, tokenizer, split, write."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scalelab.config import CorpusConfig
from scalelab.corpus import tokenizer as tok
from scalelab.corpus.clean import Cleaned, clean, text_sha256
from scalelab.corpus.documents import Document, Tally, utf8_size
from scalelab.corpus.overlap import random_table, shared_windows
from scalelab.corpus.shards import write_tokens
from scalelab.corpus.sources import get_source, known_truth, own_spelling
from scalelab.corpus.split import HeldOut, Split, join, split
from scalelab.corpus.zone import Zone
from scalelab.errors import UserError
from scalelab.files import atomic_path, canonical_json, digest, file_sha256, read_json, write_json
from scalelab.provenance import manifest as provenance
from scalelab.seeds import stream

FORMAT = 1
TOKENIZER_SAMPLE_BYTES = 20_000_000
DEFAULT_WINDOW = 32
"""Width of the windows counted in training where `overlap_tokens` is 0."""

Report = Callable[[str], None]


def prepare(spec: dict[str, Any], out: Path, report: Report) -> dict[str, Any]:
    """Write the corpus of `spec` into the folder `out` and return its manifest.

    Args:
        spec: `{"format": 1, "config": CorpusConfig as a dict, "seed": int, "fingerprint": {...}}`.
        out: folder for train.bin, tuning.bin, test.bin, tuning.docs.json, test.docs.json,
            tokenizer.json and, last, manifest.json.
        report: called with a line of progress at a time.

    Returns:
        The manifest. When `out` already holds the corpus of this specification and the digests
        of its files match, it is returned without work.

    Raises:
        UserError: the text cannot be read or is too small; packages changed since the plan.
    """
    out = Path(out)
    if spec.get("format") != FORMAT:
        raise UserError(f"corpus: format {spec.get('format')!r}, expected {FORMAT}")
    spec = json.loads(canonical_json(spec))  # as it comes back from the manifest
    done = _finished(spec, out)
    if done is not None:
        report(f"corpus: {out.name} is complete, nothing to do")
        return done
    (out / "manifest.json").unlink(missing_ok=True)
    config, seed = {**asdict(CorpusConfig()), **spec["config"]}, spec["seed"]

    read = Tally()
    documents = get_source(config["source"])(config, spec["fingerprint"], read, report)
    cleaned = clean(
        _announced(documents, read, report),
        seed=stream(seed, "corpus order"),
        min_bytes=config["min_document_bytes"],
        near_threshold=config["near_duplicate_threshold"],
        max_bytes=config["max_bytes"],
        report=report,
    )
    for reason, count in cleaned.removed.documents.items():
        report(f"corpus: {reason}: {count:,} documents removed")
    report(f"corpus: {len(cleaned.documents):,} documents, {_mb(cleaned.bytes)} left")

    if not cleaned.documents:
        raise UserError(
            f"corpus: no text is left: {read.documents['read']:,} files read, left out: "
            f"{ {**read.documents, **cleaned.removed.documents} }"
        )
    texts = [document.text for document in cleaned.documents]
    first_sampled = available = _sample_start(texts, cleaned.bytes)
    zone = None
    if config["heldout_share"] is not None:
        zone = Zone(stream(seed, "corpus order"), config["heldout_share"])
        available = zone.end(cleaned.documents)
        first_sampled = max(first_sampled, available)
    tokenizer = _tokenizer(config, own_spelling(config) or texts[first_sampled:], report)
    ids = _encode(tokenizer, texts, report)
    table = random_table(tokenizer.get_vocab_size(), stream(seed, "corpus overlap"))
    parts = split(
        cleaned.documents,
        ids,
        sizes={"test": config["test_tokens"], "tuning": config["tuning_tokens"]},
        available=available,
        overlap_tokens=config["overlap_tokens"],
        table=table,
        report=report,
        zone=zone,
    )
    for text in texts[parts.used : parts.zone]:
        cleaned.removed.add("held-out share, not needed", utf8_size(text))
    tok.check_round_trip(tokenizer, texts[: parts.used], ids[: parts.used])
    train = join(ids[parts.zone :])
    return _write(spec, out, read, cleaned, tokenizer, parts, train, table, report)


def _finished(spec: dict[str, Any], out: Path) -> dict[str, Any] | None:
    if not (out / "manifest.json").is_file():
        return None
    try:
        manifest = read_json(out / "manifest.json")
        same = canonical_json(manifest["spec"]) == canonical_json(spec)
        if same and all(file_sha256(out / name) == sha for name, sha in manifest["files"].items()):
            return manifest
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None  # a broken or foreign folder is written anew
    return None


def _announced(documents: Iterator[Document], read: Tally, report: Report) -> Iterator[Document]:
    yield from documents
    report(f"corpus: {read.documents['read']:,} files, {_mb(read.bytes['read'])} read")
    for reason, count in read.documents.items():
        if reason != "read":
            report(f"corpus: {reason}: {count:,} left out")


def _sample_start(texts: list[str], total: int) -> int:
    """Where the tokenizer's sample starts: the last documents in order, at most half the bytes.

    Held-out documents come from the front, so the sample is training text whatever their number.
    """
    budget = min(TOKENIZER_SAMPLE_BYTES, total // 2)
    start = len(texts)
    while start > 0:
        budget -= utf8_size(texts[start - 1])
        if budget < 0 and start < len(texts):
            break
        start -= 1
    return start


def _tokenizer(config: dict[str, Any], sample: list[str], report: Report) -> Tokenizer:
    if config["tokenizer"] == "bytes":
        return tok.byte_tokenizer()
    size = config["vocab_size"]
    report(f"corpus: training a byte-level BPE of {size:,} tokens on {len(sample):,} documents")
    return tok.train_bpe(sample, size)


def _encode(tokenizer: Tokenizer, texts: list[str], report: Report) -> list[np.ndarray]:
    step = max(len(texts) // 4, 1)
    reported = 0

    def progress(done: int) -> None:
        nonlocal reported
        if done - reported >= step:
            reported = done
            report(f"corpus: {done:,} of {len(texts):,} documents tokenized")

    return list(tok.encode(tokenizer, texts, progress))


def _write(
    spec: dict[str, Any],
    out: Path,
    read: Tally,
    cleaned: Cleaned,
    tokenizer: Tokenizer,
    parts: Split,
    train: np.ndarray,
    table: np.ndarray,
    report: Report,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    vocab_size = tokenizer.get_vocab_size()
    lengths = tok.token_byte_lengths(tokenizer)
    if len(train) <= 1:
        raise UserError("corpus: too small: no text is left for training")
    splits = {"train": _summary(train, lengths, len(cleaned.documents) - parts.zone)}
    width = spec["config"]["overlap_tokens"] or DEFAULT_WINDOW
    overlap: dict[str, Any] = {
        "window_tokens": width,
        "heldout_tokens_seen": parts.seen_tokens,
        "heldout_tokens_removed": parts.overlap_tokens,
        "heldout_share_removed": parts.overlap_tokens / max(parts.seen_tokens, 1),
        "tokens_in_short_pieces": parts.short_tokens,
        "tokens_over_document_cap": parts.capped_tokens,
        "documents_without_piece": parts.documents_without_piece,
        "largest_share_of_a_document": parts.largest_share,
    }
    for held in parts.heldout:
        splits[held.name] = _summary(held.ids, lengths, len(held.documents))
        splits[held.name]["pieces"] = len(held.pieces)
        found, total = shared_windows(held.ids, train, width, tok.SEPARATOR_ID, table)
        overlap[f"{held.name}_windows_in_training"] = found / max(total, 1)
        write_json(out / f"{held.name}.docs.json", _documents(held, cleaned.documents, lengths))
    for name, ids in {"train": train, **{h.name: h.ids for h in parts.heldout}}.items():
        write_tokens(out / f"{name}.bin", ids, vocab_size)
        report(
            f"corpus: {name}: {splits[name]['documents']:,} documents, "
            f"{splits[name]['tokens']:,} tokens, {splits[name]['bytes_per_token']:.2f} bytes each"
        )
    with atomic_path(out / "tokenizer.json") as temporary:
        tok.save(tokenizer, temporary)
    names = ["tokenizer.json", *(f"{s}.bin" for s in splits)]
    names += [f"{held.name}.docs.json" for held in parts.heldout]
    files = {name: file_sha256(out / name) for name in names}
    used = np.bincount(train, minlength=vocab_size)
    hashed = {name: sha for name, sha in files.items() if not name.endswith(".docs.json")}
    data_hash = digest(hashed, 64)
    manifest: dict[str, Any] = {
        "id": digest(spec),
        "data_hash": data_hash,
        "splits": splits,
        "tokenizer": {
            "kind": spec["config"]["tokenizer"],
            "vocab_size": vocab_size,
            "separator": tok.SEPARATOR,
            "separator_id": tok.SEPARATOR_ID,
            "dtype": tok.token_dtype(vocab_size).name,
            "ids_used_in_training": int((used > 0).sum()),
        },
        "text": {
            "documents": len(cleaned.documents),
            "bytes": cleaned.bytes,
            "distinct_line_share": _distinct_line_share(cleaned.documents),
        },
        "read": read.as_dict(),
        "removed": cleaned.removed.as_dict(),
        "overlap": overlap,
        "files": files,
        "spec": spec,
    }
    heldout = {held.name: held.ids for held in parts.heldout}
    truth = known_truth(spec["config"], tokenizer, heldout)
    if truth is not None:
        manifest["truth"] = truth
    manifest["provenance"] = provenance(spec, data_hash)
    write_json(out / "manifest.json", manifest)
    return manifest


def _summary(ids: np.ndarray, lengths: np.ndarray, documents: int) -> dict[str, Any]:
    size = int(np.bincount(ids, minlength=len(lengths)) @ lengths)
    text_tokens = int((ids != tok.SEPARATOR_ID).sum())
    return {
        "documents": documents,
        "tokens": len(ids),
        "bytes": size,
        "bytes_per_token": size / max(text_tokens, 1),
    }


def _documents(held: HeldOut, documents: list[Document], lengths: np.ndarray) -> dict[str, Any]:
    number = {index: place for place, index in enumerate(held.documents)}
    return {
        "documents": [
            {"name": documents[index].name, "sha256": text_sha256(documents[index].text)}
            for index in held.documents
        ],
        "pieces": [
            [start, end, number[index], int(lengths[held.ids[start:end]].sum())]
            for start, end, index in held.pieces
        ],
    }


def _distinct_line_share(documents: list[Document]) -> float:
    """Share of the bytes that is left when every line is kept once."""
    seen: set[int] = set()
    distinct = total = 0
    for document in documents:
        for line in document.text.split("\n"):
            size = len(line) + 1
            total += size
            code = hash(line)
            if code not in seen:
                seen.add(code)
                distinct += size
    return distinct / max(total, 1)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
