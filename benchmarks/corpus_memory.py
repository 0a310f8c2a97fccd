"""What preparing a corpus holds in memory, for a small text and one many times its size.

    python benchmarks/corpus_memory.py [--small 40M] [--times 4] [--document 3k] [--json FILE]

Random words in JSON lines, prepared by a process of its own each, which writes the most memory
that it held: its anonymous pages (Linux, /proc/self/status, twenty times a second). Pages of mapped
files, such as the tokens', are left out, since the system takes them back when it needs them.
`bytes_a_byte` is the growth of that memory over the growth of the text: 1 for a
program that holds the text once. `bytes_a_document` is it by document, which is what the index of
near duplicates and the places of documents take. The smaller text must be well above the 20 MB that
a tokenizer is trained on and the 16 MB that are read at once.
"""

import argparse
import contextlib
import json
import multiprocessing
import random
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalelab.config import CorpusConfig
from scalelab.config.values import to_count
from scalelab.corpus.prepare import prepare
from scalelab.files import write_json
from scalelab.plan.data import fingerprint

WORDS = 20_000


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=to_count, default=40_000_000, help="bytes of text")
    parser.add_argument("--times", type=int, default=4, help="the larger text over the smaller")
    parser.add_argument("--document", type=to_count, default=3_000, help="bytes of a document")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = [args.small, args.small * args.times]
        rows = [measure(Path(folder, str(size)), size, args.document) for size in sizes]
    (text, memory, documents), (more_text, more_memory, more_documents) = rows
    result = {
        "text_mb": [round(text / 1e6, 1), round(more_text / 1e6, 1)],
        "memory_mb": [round(memory / 1e6), round(more_memory / 1e6)],
        "bytes_a_byte": round((more_memory - memory) / (more_text - text), 3),
        "bytes_a_document": round((more_memory - memory) / (more_documents - documents)),
    }
    print("\n".join(f"{name}: {value}" for name, value in result.items()))
    if args.json:
        write_json(args.json, result)


def measure(folder: Path, size: int, document: int) -> tuple[int, int, int]:
    """(bytes of text, bytes of memory at most, documents)."""
    folder.mkdir()
    count = max(size // document, 1)
    write(folder / "text.jsonl", count, document)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=prepared, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the preparation of {size:,} bytes ended with {process.exitcode}")
    told: dict[str, int] = json.loads((folder / "told.json").read_text())
    return told["bytes"], told["memory"], count


def write(path: Path, count: int, document: int) -> None:
    """Documents of random words, no two alike."""
    generator = random.Random(0)
    words = [
        "".join(generator.choices("etaoinshrdlu", k=length % 9 + 2)) for length in range(WORDS)
    ]
    with open(path, "w", encoding="utf-8") as out:
        for _ in range(count):
            text = " ".join(generator.choices(words, k=document // 7))
            out.write(json.dumps({"text": text}) + "\n")


def prepared(folder: Path) -> None:
    """Prepare the corpus and write how much memory it took."""
    config = CorpusConfig(
        source="files",
        paths=(str(folder / "text.jsonl"),),
        test_tokens=50_000,
        tuning_tokens=50_000,
    )
    plain: dict[str, Any] = asdict(config)
    spec = {"format": 1, "config": plain, "seed": 1, "fingerprint": fingerprint(config)}
    with most_memory() as most:
        manifest = prepare(spec, folder / "corpus", lambda line: None)
    write_json(folder / "told.json", {"bytes": manifest["text"]["bytes"], "memory": most[0]})


@contextlib.contextmanager
def most_memory() -> Iterator[list[int]]:
    """The most bytes of anonymous pages while a block runs, in a list of one."""
    most, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def anonymous() -> int:
    """Bytes of this process that are no pages of files."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
