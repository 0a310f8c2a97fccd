"""How fast text becomes tokens, all ways in one go.

    python benchmarks/tokenizing.py [--mb 12] [--vocab 4096] [--rounds 5] [--json FILE]

The text is Python's own standard library, repeated with other names as often as it takes. A BPE is
trained on a part of it, then four ways encode all of it, taking turns:

- `library`: `Tokenizer.encode_batch_fast` of the library tokenizers on the same batches, nothing
  done with what comes out: the rate that is there to be had;
- `ours`: `scalelab.corpus.tokenizer.encode`, an array of ids for each document;
- `map`: `datasets.map`, batched, a process a core, ids written as Arrow (as in transformers'
  examples);
- `loop`: `Tokenizer.encode` of one text after the other.

Each round takes all of them, in an order of its own, on the same batches of text; nothing is kept.
Printed are MB of text a second (the median of the rounds) and, as medians and quartiles over the
rounds, `share`, ours over the library, `over_map` and `over_loop`, ours over the others.
"""

import argparse
import glob
import os
import random
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus import tokenizer as tok
from scalelab.files import write_json

QUARTILES = (0.5, 0.25, 0.75)
"""The median first, then the quartiles."""


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=float, default=12.0, help="text to encode, MB")
    parser.add_argument("--vocab", type=int, default=4096, help="size of the vocabulary")
    parser.add_argument("--rounds", type=int, default=5, help="turns of all ways")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    result = measure(documents(args.mb * 1e6), args.vocab, args.rounds)
    print("\n".join(f"{name}: {value}" for name, value in result.items()))
    if args.json:
        write_json(args.json, result)


def documents(size: float) -> list[str]:
    """Files of the standard library, about `size` bytes."""
    names = sorted(glob.glob(f"{sysconfig.get_path('stdlib')}/**/*.py", recursive=True))
    found: list[str] = []
    total, turn = 0, 0
    while True:
        for name in names:
            text = Path(name).read_text(encoding="utf-8", errors="replace")
            found.append(text if not turn else text.replace("self", f"self{turn}"))
            total += len(found[-1].encode())
            if total >= size:
                return found
        turn += 1


def measure(texts: list[str], vocab: int, rounds: int) -> dict[str, Any]:
    """MB/s of each way, and how ours compares."""
    size = sum(len(text.encode()) for text in texts)
    tokenizer = tok.train_bpe(texts[:: max(len(texts) // 200, 1)], vocab)
    tokenizer.encode_special_tokens = True
    ways: dict[str, Callable[[], int]] = {
        "library": lambda: sum(
            len(tokenizer.encode_batch_fast(batch, add_special_tokens=False))
            for batch in tok._batches(texts)
        ),
        "ours": lambda: sum(1 for _ in tok.encode(tokenizer, texts)),
        "map": lambda: mapped(tokenizer, texts),
        "loop": lambda: sum(
            1 for text in texts if tokenizer.encode(text, add_special_tokens=False).ids is not None
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = random.Random(0)
    for number in range(rounds + 1):
        for name in order.sample(list(ways), len(ways)):
            began = time.perf_counter()
            done = ways[name]()
            if done != len(texts):
                raise SystemExit(f"{name}: {done} of {len(texts)} documents came back")
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    times = {name: np.array(values) for name, values in seconds.items()}
    return {
        "cores": os.cpu_count(),
        "text_mb": round(size / 1e6, 1),
        "documents": len(texts),
        "vocab": vocab,
        "rounds": rounds,
        **{
            f"{name}_mb_per_second": round(size / 1e6 / float(np.median(values)), 2)
            for name, values in times.items()
        },
        **{
            key: [round(float(x), 2) for x in np.quantile(times[name] / times["ours"], QUARTILES)]
            for key, name in (("share", "library"), ("over_map", "map"), ("over_loop", "loop"))
        },
    }


def mapped(tokenizer: Any, texts: list[str]) -> int:
    """`datasets.map` as transformers' examples use it, its processes in place of threads."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    datasets.disable_progress_bars()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        data = datasets.Dataset.from_dict({"text": texts})
        done = data.map(
            lambda rows: fast(rows["text"], add_special_tokens=False),
            batched=True,
            num_proc=os.cpu_count(),
            remove_columns=["text"],
            cache_file_name=f"{folder}/ids.arrow",
        )
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        return len(done)


if __name__ == "__main__":
    main()
