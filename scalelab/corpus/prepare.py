"""From a specification to token files: read, clean, tokenizer, split, write."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from scalelab import __version__
from scalelab.config import CorpusConfig
from scalelab.corpus import coder as coding
from scalelab.corpus.canaries import plant
from scalelab.corpus.clean import collect, select
from scalelab.corpus.cleaning import cleaning
from scalelab.corpus.coder import Coder
from scalelab.corpus.documents import Document, Place, Tally, is_left_out
from scalelab.corpus.manifest import write
from scalelab.corpus.overlap import random_table
from scalelab.corpus.rows import Rows
from scalelab.corpus.sources import get_source, own_spelling
from scalelab.corpus.split import split
from scalelab.corpus.store import Kept, Store, errors_of_system
from scalelab.corpus.zone import UNUSED, Zone, places_of
from scalelab.errors import UserError
from scalelab.files import canonical_json, digest, finished
from scalelab.plan.data import source_names
from scalelab.plan.tokenizers import TRAINED
from scalelab.provenance import stage_digest
from scalelab.seeds import stream

FORMAT = 1
TOKENIZER_SAMPLE_BYTES = 20_000_000
BLOCK_CHARACTERS = 16_000_000
"""What is read between two points that an interrupted preparation goes on from."""

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
    work = out.with_name(f".{out.name}.work")
    wanted = canonical_json(spec)
    done = finished(out, lambda manifest: canonical_json(manifest["spec"]) == wanted)
    if done is not None:
        report(f"corpus: {out.name} is complete, nothing to do")
        shutil.rmtree(work, ignore_errors=True)  # of a process that ended between the two
        return done
    (out / "manifest.json").unlink(missing_ok=True)
    config, seed = {**asdict(CorpusConfig()), **spec["config"]}, spec["seed"]
    code = [stage_digest("corpus", source=name) for name in source_names(config)]
    identity = digest([spec, __version__, code])
    lock_file = work.with_suffix(".lock")
    lock = FileLock(lock_file)
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"corpus: {out.name} is being prepared by another process") from None
    try:
        with errors_of_system(work), Store(work, identity) as store:
            manifest = _made(spec, config, seed, out, store, report)
    except UserError as error:
        if not error.resumable:
            shutil.rmtree(work)
        raise
    finally:
        lock.release()
        lock_file.unlink(missing_ok=True)
    shutil.rmtree(work)
    return manifest


def _made(
    spec: dict[str, Any],
    config: dict[str, Any],
    seed: int,
    out: Path,
    store: Store,
    report: Report,
) -> dict[str, Any]:
    coder = None
    if config["tokenizer"] not in TRAINED:  # what is wrong with it is said before text is read
        coder = coding.make(config, spec["fingerprint"], (), report)
    read, removed, steps = _read(config, spec["fingerprint"], seed, store, report)
    cleaned = select(
        store,
        seed=stream(seed, "corpus order"),
        near_threshold=config["near_duplicate_threshold"],
        max_bytes=config["max_bytes"],
        weights=[part["weight"] for part in config["mixture"]] or [1.0],
        removed=removed,
        report=report,
    )
    for reason, count in removed.documents.items():
        report(f"corpus: {reason}: {count:,} documents removed")
    report(f"corpus: {len(cleaned.documents):,} documents, {_mb(cleaned.bytes)} left")
    if not cleaned.documents:
        raise UserError(
            f"corpus: no text is left: {read.documents['read']:,} files read, left out: "
            f"{ {**read.documents, **removed.documents} }"
        )
    first_sampled = available = _sample_start(cleaned.documents.sizes, cleaned.bytes)
    zone = None
    if config["heldout_share"] is not None:
        zone = Zone(config["heldout_share"], places_of(cleaned.documents.entries["key"]))
        available = zone.end()
        first_sampled = max(first_sampled, available)
    if coder is None:
        sample = own_spelling(config) or cleaned.documents[first_sampled:].texts()
        coder = coding.make(config, spec["fingerprint"], sample, report)
    rows = _encode(coder, cleaned.documents, store.folder / "tokens.bin", report)
    table = random_table(coder.size, stream(seed, "corpus overlap"))
    parts = split(
        rows,
        sizes={"test": config["test_tokens"], "tuning": config["tuning_tokens"]},
        available=available,
        overlap_tokens=config["overlap_tokens"],
        table=table,
        report=report,
        zone=zone,
    )
    for size in cleaned.documents.sizes[parts.used : parts.zone].tolist():
        removed.add(UNUSED, size)
    coder.check(cleaned.documents[: parts.used], rows[: parts.used])
    planted = plant(spec, coder, rows, parts.zone, store.folder / "planted.bin", report)
    return write(spec, out, read, cleaned, coder, parts, rows, table, steps, planted, report)


def _read(
    config: dict[str, Any],
    fingerprint: dict[str, Any],
    seed: int,
    store: Store,
    report: Report,
) -> tuple[Tally, Tally, dict[str, Any]]:
    """Put the documents of a source into the store; go on where an interrupted reading was.

    Returns:
        (what was read, what of it was removed, what each step of cleaning did).
    """
    read, removed = Tally(), Tally()
    removed.put_back(store.state("removed", {}))
    if store.state("complete", False):
        read.put_back(store.state("read"))
        report(f"corpus: {read.documents['read']:,} files were read before")
        return read, removed, store.state("cleaned")
    order = stream(seed, "corpus order")
    passed = store.state("taken", 0)
    read.start = tuple(store.state("place", ()))
    read.put_back(store.state("before", {}))
    if passed or read.start:
        report("corpus: going on where reading was interrupted")
    chain = cleaning(config, fingerprint, report)
    chain.put_back(store.state("cleaning", {}))
    documents = get_source(config["source"])(config, fingerprint, read, report)
    for block, place, before, taken in _blocks(documents, read, passed):
        collect(
            chain.chain(block),
            store,
            seed=order,
            min_bytes=config["min_document_bytes"],
            removed=removed,
        )
        store.commit(
            taken=taken,
            place=place,
            before=before,
            removed=removed.as_dict(),
            cleaning=chain.state(),
        )
    report(f"corpus: {read.documents['read']:,} files, {_mb(read.bytes['read'])} read")
    for reason, count in read.documents.items():
        if is_left_out(reason):
            report(f"corpus: {reason}: {count:,} left out")
        elif reason != "read":
            report(f"corpus: {reason}: {count:,} files")
    for line in chain.lines():
        report(f"corpus: {line}")
    store.commit(complete=True, read=read.as_dict(), cleaned=chain.as_dict())
    return read, removed, chain.as_dict()


def _blocks(
    documents: Iterator[Document], read: Tally, passed: int
) -> Iterator[tuple[list[Document], Place, dict[str, dict[str, int]], int]]:
    """Documents in blocks, and where reading is after each of them.

    The first `passed` documents of the first file were read before and are passed over. A block
    comes with the file that its last document is from, the counts when that file was begun, and
    how many of the file's documents are done.
    """
    block: list[Document] = []
    size = taken = 0
    place = read.start
    for document in documents:
        if read.place != place:
            place, taken, passed = read.place, 0, 0
        taken += 1
        if taken <= passed:
            continue
        block.append(document)
        size += len(document.text)
        if size >= BLOCK_CHARACTERS:
            yield block, place, read.before, taken
            block, size = [], 0
    if block:
        yield block, place, read.before, taken


def _sample_start(sizes: np.ndarray, total: int) -> int:
    """Where the tokenizer's sample starts: the last documents in order, at most half the bytes.

    Held-out documents come from the front, so the sample is training text whatever their number.
    """
    budget = min(TOKENIZER_SAMPLE_BYTES, total // 2)
    fits = int(np.searchsorted(np.cumsum(sizes[::-1]), budget, side="right"))
    return len(sizes) - max(fits, 1)


def _encode(coder: Coder, documents: Kept, path: Path, report: Report) -> Rows:
    """Tokenize all documents into a file."""
    step = max(len(documents) // 4, 1)
    reported = 0

    def progress(done: int) -> None:
        nonlocal reported
        if done - reported >= step:
            reported = done
            report(f"corpus: {done:,} of {len(documents):,} documents tokenized")

    encoded = coder.encode(documents.texts(), progress)
    return Rows.write(path, encoded, coder.dtype, coder.separator_id)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
