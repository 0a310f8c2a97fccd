"""The files of a corpus and, last, the manifest that accounts for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus import tokenizer as tok
from scalelab.corpus.canaries import Planted
from scalelab.corpus.card import Card
from scalelab.corpus.clean import Cleaned, text_sha256
from scalelab.corpus.coder import Coder
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.overlap import shared_windows
from scalelab.corpus.rows import Rows
from scalelab.corpus.shards import write_tokens
from scalelab.corpus.sources import known_truth
from scalelab.corpus.split import HeldOut, Split
from scalelab.corpus.store import Kept
from scalelab.errors import UserError
from scalelab.files import atomic_path, digest, file_sha256, write_json
from scalelab.plan.symbols import SYMBOLS
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
    coder: Coder,
    parts: Split,
    rows: Rows,
    table: np.ndarray,
    steps: dict[str, Any],
    planted: Planted | None,
    report: Report,
) -> dict[str, Any]:
    """Write train.bin, tuning.bin, test.bin, their documents, the tokenizer, card and manifest.

    `steps` are the counts of cleaning, empty where none was asked for; `planted` is the training
    split with canaries in it, None where there are none.

    Returns:
        The manifest, which is written last.

    Raises:
        UserError: no text is left for training.
    """
    train = rows.after(parts.zone)
    if len(train) <= 1:
        raise UserError("corpus: too small: no text is left for training")
    out.mkdir(parents=True, exist_ok=True)
    rest = cleaned.documents[parts.zone :]
    documents, size = len(rest), int(rest.sizes.sum())
    if planted is not None:
        train = planted.stream
        documents, size = documents + planted.facts["documents"], size + planted.facts["bytes"]
    used = _counts(train, coder.size)
    splits = {"train": _summary(used, size, documents, coder.separator_id)}
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
        sizes = piece_bytes(coder, held, cleaned.documents, rows)
        counts = _counts(held.ids, coder.size)
        splits[held.name] = _summary(counts, sum(sizes), len(held.documents), coder.separator_id)
        splits[held.name]["pieces"] = len(held.pieces)
        found, total = shared_windows(held.ids, train, width, coder.separator_id, table)
        overlap[f"{held.name}_windows_in_training"] = found / max(total, 1)
        write_json(
            out / f"{held.name}.docs.json", held_out_documents(held, cleaned.documents, sizes)
        )
    for name, ids in {"train": train, **{h.name: h.ids for h in parts.heldout}}.items():
        write_tokens(out / f"{name}.bin", ids, coder.size)
        report(
            f"corpus: {name}: {splits[name]['documents']:,} documents, "
            f"{splits[name]['tokens']:,} tokens, {splits[name]['bytes_per_token']:.2f} bytes each"
        )
    with atomic_path(out / "tokenizer.json") as temporary:
        tok.save(coder.tokenizer, temporary)
    names = ["tokenizer.json", *(f"{s}.bin" for s in splits)]
    names += [f"{held.name}.docs.json" for held in parts.heldout]
    files = {name: file_sha256(out / name) for name in names}
    hashed = {name: sha for name, sha in files.items() if not name.endswith(".docs.json")}
    if planted is not None:
        hashed["canaries"] = digest(planted.facts, 64)  # controls stand in no file
    data_hash = digest(hashed, 64)
    manifest: dict[str, Any] = {
        "id": digest(spec),
        "data_hash": data_hash,
        "splits": splits,
        "tokenizer": {
            **coder.described(),
            "ids_used_in_training": int((used > 0).sum()),
        },
        "text": {
            "documents": len(cleaned.documents),
            "bytes": cleaned.bytes,
            "distinct_line_share": _distinct_line_share(cleaned.documents),
            **_parts(spec["config"].get("mixture", []), cleaned.documents.entries),
        },
        "read": read.as_dict(),
        "removed": cleaned.removed.as_dict(),
        **({"cleaning": steps} if steps else {}),
        **({"canaries": planted.facts} if planted else {}),
        "overlap": overlap,
        "files": files,
        "spec": spec,
    }
    heldout = {held.name: held.ids for held in parts.heldout}
    truth = known_truth(spec["config"], coder.tokenizer, heldout)
    if truth is not None:
        manifest["truth"] = truth
    manifest["provenance"] = provenance(spec, data_hash)
    card = Card(languages=spec["config"]["source"] not in SYMBOLS)
    for text, tokens in zip(cleaned.documents.texts(), rows.lengths.tolist(), strict=True):
        card.add(text, tokens)
    write_json(out / "card.json", card.as_dict(manifest))
    write_json(out / "manifest.json", manifest)
    return manifest


def _parts(mixture: Sequence[dict[str, Any]], entries: np.ndarray) -> dict[str, Any]:
    """What each part of a mixture gave."""
    if not mixture:
        return {}
    sizes = np.bincount(entries["part"], entries["size"], len(mixture)).astype(int).tolist()
    counts = np.bincount(entries["part"], minlength=len(mixture)).tolist()
    return {
        "parts": {
            part["name"]: {"documents": count, "bytes": size}
            for part, count, size in zip(mixture, counts, sizes, strict=True)
        }
    }


def piece_bytes(
    coder: Coder, held: HeldOut, documents: Sequence[Document], rows: Sequence[np.ndarray]
) -> list[int]:
    """Bytes of the original text of each piece of a held-out split."""
    found, last, sizes = [], -1, np.zeros(0, dtype=np.int64)
    for (start, end, index), begin in zip(held.pieces, held.starts, strict=True):
        if index != last:
            sizes, last = coder.bytes_of(documents[index].text, rows[index]), index
        found.append(int(sizes[begin : begin + end - start].sum()))
    return found


def _summary(counts: np.ndarray, size: int, documents: int, separator: int) -> dict[str, Any]:
    tokens = int(counts.sum())
    text_tokens = tokens - int(counts[separator])
    return {
        "documents": documents,
        "tokens": tokens,
        "bytes": size,
        "bytes_per_token": size / max(text_tokens, 1),
    }


def _counts(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each id occurs, int64; block by block, since ids become wide to be counted."""
    total = np.zeros(vocab_size, np.int64)
    for start in range(0, len(ids), BLOCK):
        total += np.bincount(ids[start : start + BLOCK], minlength=vocab_size)
    return total


def held_out_documents(
    held: HeldOut, documents: Sequence[Document], sizes: list[int]
) -> dict[str, Any]:
    """The content of NAME.docs.json: the documents of a held-out split and their pieces."""
    number = {index: place for place, index in enumerate(held.documents)}
    return {
        "documents": [
            {"name": documents[index].name, "sha256": text_sha256(documents[index].text)}
            for index in held.documents
        ],
        "pieces": [
            [start, end, number[index], size]
            for (start, end, index), size in zip(held.pieces, sizes, strict=True)
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
