"""The files of a corpus and, last, the manifest that accounts for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scalelab.corpus import tokenizer as tok
from scalelab.corpus.card import Card
from scalelab.corpus.clean import Cleaned, text_sha256
from scalelab.corpus.documents import Tally
from scalelab.corpus.overlap import shared_windows
from scalelab.corpus.rows import Rows
from scalelab.corpus.shards import write_tokens
from scalelab.corpus.sources import known_truth
from scalelab.corpus.split import HeldOut, Split
from scalelab.corpus.store import Kept
from scalelab.errors import UserError
from scalelab.files import atomic_path, digest, file_sha256, write_json
from scalelab.provenance import manifest as provenance

DEFAULT_WINDOW = 32
"""Width of the windows counted in training where `overlap_tokens` is 0."""
LINES_BYTES = 256_000_000
"""Text that repeated lines are looked for in."""
BLOCK = 1 << 24

Report = Callable[[str], None]


def write(
    spec: dict[str, Any],
    out: Path,
    read: Tally,
    cleaned: Cleaned,
    tokenizer: Tokenizer,
    parts: Split,
    rows: Rows,
    table: np.ndarray,
    steps: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Write train.bin, tuning.bin, test.bin, their documents, the tokenizer, card and manifest.

    `steps` are the counts of cleaning, empty where none was asked for.

    Returns:
        The manifest, which is written last.

    Raises:
        UserError: no text is left for training.
    """
    train = rows.after(parts.used)
    vocab_size = tokenizer.get_vocab_size()
    lengths = tok.token_byte_lengths(tokenizer)
    if len(train) <= 1:
        raise UserError("corpus: too small: no text is left for training")
    out.mkdir(parents=True, exist_ok=True)
    splits = {"train": _summary(train, lengths, len(cleaned.documents) - parts.used)}
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
    used = _counts(train, vocab_size)
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
        **({"cleaning": steps} if steps else {}),
        "overlap": overlap,
        "files": files,
        "spec": spec,
    }
    heldout = {held.name: held.ids for held in parts.heldout}
    truth = known_truth(spec["config"], tokenizer, heldout)
    if truth is not None:
        manifest["truth"] = truth
    manifest["provenance"] = provenance(spec, data_hash)
    card = Card()
    for text, tokens in zip(cleaned.documents.texts(), rows.lengths.tolist(), strict=True):
        card.add(text, tokens)
    write_json(out / "card.json", card.as_dict(manifest))
    write_json(out / "manifest.json", manifest)
    return manifest


def _summary(ids: np.ndarray, lengths: np.ndarray, documents: int) -> dict[str, Any]:
    counts = _counts(ids, len(lengths))
    size = int(counts @ lengths)
    text_tokens = len(ids) - int(counts[tok.SEPARATOR_ID])
    return {
        "documents": documents,
        "tokens": len(ids),
        "bytes": size,
        "bytes_per_token": size / max(text_tokens, 1),
    }


def _counts(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each id occurs, int64; block by block, since ids become wide to be counted."""
    total = np.zeros(vocab_size, np.int64)
    for start in range(0, len(ids), BLOCK):
        total += np.bincount(ids[start : start + BLOCK], minlength=vocab_size)
    return total


def _documents(held: HeldOut, documents: Kept, lengths: np.ndarray) -> dict[str, Any]:
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


def _distinct_line_share(documents: Kept) -> float:
    """Share of the bytes that is left when every line is kept once, of the first 256 MB."""
    seen: set[int] = set()
    distinct = total = 0
    for text in documents.texts():
        for line in text.split("\n"):
            size = len(line) + 1
            total += size
            code = hash(line)
            if code not in seen:
                seen.add(code)
                distinct += size
        if total >= LINES_BYTES:
            break
    return distinct / max(total, 1)
