"""How fast models write: with a cache of keys and values and without, one text and many at once,
and by several processes.

    python benchmarks/decoding.py [--quick] [--context 128] [--processes 2] [--json FILE]

GPT-2 shapes of 1e4 to 3e6 non-embedding parameters with depth, heads and vocabulary of
config/quickstart.yaml and untrained weights, on one thread of the processor. Half of the context is
given and the other half written, the likeliest token each time, by transformers' `generate` as the
measure `generation` calls it, and, drawn, by the writer of `scalelab samples`, which has neither
cache nor batch. The sides take turns in several rounds; the first, to warm up, is not counted.

All times are of the processor, which other work on the machine disturbs less than the clock; with
one thread they are what an idle machine takes. `tokens_per_second` is that of all texts together,
`ms_per_token` the wait for the next token of each (medians of the rounds). `ratio` is how many
times as many tokens a second, the median of the rounds and the quartiles. `cache`: one text with a
cache over one without; `cache_batch`: the same of 16 texts; `batch`: 16 texts over one, with a
cache; `samples`: one text with a cache over the writer of samples. `differing` is the share of
texts that a cache changes.

At the end one process and several take turns at what the measure `generation` writes: a quarter of
the context after each of 256 halves and of 1,024, likeliest and drawn, the start of the others
included. How many times as quick the several are is said by the `clock`, which needs as many idle
cores, and by time of the `processor`: that of the one over that of the busiest, which is what the
clock of an idle machine would say. `cost` is the processor time of all over that of the one. That
the texts are the same is asserted.

A quarter of an hour on one core; --quick: two minutes.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from scalelab import config
from scalelab.evaluation.checkpoint import open_checkpoint
from scalelab.evaluation.measures import Subject, _writing
from scalelab.evaluation.samples import write as write_sample
from scalelab.evaluation.spread import spread
from scalelab.files import write_json
from scalelab.models import build as build_model
from scalelab.models import export
from scalelab.plan.families import Shape
from scalelab.plan.runs import build

STUDY = Path(__file__).parents[1] / "config" / "quickstart.yaml"
SIZES, QUICK = (10_000, 100_000, 1_000_000, 3_000_000), (10_000, 1_000_000)
MANY = 16
TEXTS = (256, 1024)
SIDES = {
    "cached_1": (True, 1),
    "cached_16": (True, MANY),
    "whole_1": (False, 1),
    "whole_16": (False, MANY),
    "samples_1": (None, 1),
}
RATIOS = {
    "cache": ("whole_1", "cached_1"),
    "cache_batch": ("whole_16", "cached_16"),
    "batch": ("cached_1", "cached_16"),
    "samples": ("samples_1", "cached_1"),
}


def main() -> None:
    """Print the comparison, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, two rounds")
    parser.add_argument("--context", type=int, default=128, help="tokens given and written")
    parser.add_argument("--processes", type=int, default=2, help="that share texts; 1: none do")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    torch.set_num_threads(1)
    sizes, rounds = (QUICK, 2) if args.quick else (SIZES, 3)
    rows, shared_rows = [], []
    for shape, n in shapes(sizes, args.context):
        rows.append(measure(shape, n, rounds))
        print("\n".join(lines(rows[-1])), flush=True)
    for shape, n in shapes(sizes, args.context) if args.processes > 1 else ():
        for texts in TEXTS[:1] if args.quick else TEXTS:
            shared_rows.append(shared(shape, n, texts, args.processes, rounds))
            print(shared_line(shared_rows[-1]), flush=True)
    if args.json:
        machine = {"torch": version("torch"), "transformers": version("transformers")}
        found = {"sizes": rows, "shared": shared_rows, "machine": machine}
        write_json(args.json, {"context": args.context, **found})


def shapes(sizes: tuple[int, ...], context: int) -> list[tuple[Shape, int]]:
    """Shapes of the study's ladder near these sizes, with their N, the smallest first."""
    changed = {
        "model": {"context": context},
        "ladder": {"widths": [], "sizes": list(sizes), "smallest_seeds": 1},
    }
    runs = build(config.load(STUDY, changed)).runs
    found = [(Shape(**run.spec["model"]), run.counts.n) for run in runs]
    return sorted(found, key=lambda one: one[1])


def measure(shape: Shape, n: int, rounds: int) -> dict[str, Any]:
    """All sides of one size in turn."""
    ours, theirs = models(shape)
    half = shape.context // 2
    given = torch.from_numpy(np.random.default_rng(1).integers(1, shape.vocab, (MANY, half)))
    write = {side: writer(ours, theirs, shape, given, *how) for side, how in SIDES.items()}
    texts = {side: make() for side, make in write.items()}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, make in write.items():
            began = time.process_time()
            make()
            seconds[side].append((time.process_time() - began) / SIDES[side][1])
    return {
        "N": n,
        "tokens_per_second": {side: round(half / median(taken)) for side, taken in seconds.items()},
        "ms_per_token": {
            side: round(1000 * SIDES[side][1] * median(taken) / half, 2)
            for side, taken in seconds.items()
        },
        "ratio": {
            name: quartiles(np.array(seconds[slow]) / np.array(seconds[quick]))
            for name, (slow, quick) in RATIOS.items()
        },
        "differing": float((texts["cached_16"] != texts["whole_16"]).any(1).float().mean()),
    }


def models(shape: Shape) -> tuple[Any, Any]:
    """One model as ours and as transformers'."""
    from transformers import AutoConfig, AutoModelForCausalLM

    ours = build_model(shape, seed=1).eval()
    settings, weights = export(ours, shape)
    theirs: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings)).eval()
    unknown = theirs.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
    return ours, theirs


def shared(shape: Shape, n: int, texts: int, processes: int, rounds: int) -> dict[str, Any]:
    """What one process and several take for the same texts, in turn."""
    half, rng = shape.context // 2, np.random.default_rng(1)
    given = rng.integers(1, shape.vocab, (texts, half))
    clock: dict[int, list[float]] = {1: [], processes: []}
    busiest: dict[int, list[float]] = {1: [], processes: []}
    total: dict[int, list[float]] = {1: [], processes: []}
    with TemporaryDirectory() as name:
        models(shape)[1].save_pretrained(name)
        model = open_checkpoint(Path(name))
        alone = Subject(model, given, lambda seen: given, np.unique(given), separator=0, seed=1)
        work = partial(spread, folder=Path(name), processes=processes, threads=1)
        sides = {1: alone, processes: replace(alone, spread=work)}
        for turn in range(rounds + 1):
            written = {}
            for count, subject in sides.items():
                began, own, others = time.perf_counter(), time.process_time(), of_children()
                written[count] = _writing.write(subject, given, half // 2)
                took = time.perf_counter() - began
                own, others = time.process_time() - own, of_children() - others
                if turn:  # the first warms up
                    clock[count].append(took)
                    busiest[count].append(max(own, others / max(1, count - 1)))
                    total[count].append(own + others)
            assert all(map(np.array_equal, written[1], written[processes]))
    return {
        "N": n,
        "texts": texts,
        "processes": processes,
        "clock_seconds": {count: round(median(taken), 2) for count, taken in clock.items()},
        "busiest_seconds": {count: round(median(taken), 2) for count, taken in busiest.items()},
        "clock": quartiles(np.array(clock[1]) / np.array(clock[processes])),
        "processor": quartiles(np.array(busiest[1]) / np.array(busiest[processes])),
        "cost": quartiles(np.array(total[processes]) / np.array(total[1])),
    }


def of_children() -> float:
    """Processor seconds of the processes that this one has started and that have ended."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shared_line(row: dict[str, Any]) -> str:
    """One comparison as text."""
    found = (f"{key} {row[key][0]} {row[key][1:]}" for key in ("clock", "processor", "cost"))
    one, many = row["busiest_seconds"].values()
    return (
        f"N = {row['N']:,}, {row['texts']} texts: {one} s by one process, {many} s by the busiest "
        f"of {row['processes']}; ratio: {', '.join(found)}"
    )


def writer(
    ours: Any, theirs: Any, shape: Shape, given: torch.Tensor, cache: bool | None, count: int
) -> Callable[[], torch.Tensor]:
    """A function that writes as many ids as are given after `count` beginnings, (count, T)."""
    ids, more = given[:count], given.shape[1]
    if cache is None:
        generator = torch.Generator().manual_seed(1)

        def drawn() -> torch.Tensor:
            # No id is the separator here, so that every text has its length.
            told = write_sample(ours, ids[0].tolist(), more, shape.context, 1.0, generator, -1)
            return torch.tensor([told])

        return drawn

    def written() -> torch.Tensor:
        with torch.inference_mode():
            found = theirs.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                use_cache=cache,
                max_new_tokens=more,
                suppress_tokens=[0],
                pad_token_id=0,
            )
        return found[:, more:]

    return written


def quartiles(values: np.ndarray) -> list[float]:
    """Median, lower and upper quartile."""
    return [round(float(np.quantile(values, at)), 2) for at in (0.5, 0.25, 0.75)]


def lines(row: dict[str, Any]) -> list[str]:
    """One size as text."""
    out = [f"N = {row['N']:,}: {row['differing']:.0%} of texts differ by the cache"]
    for side, speed in row["tokens_per_second"].items():
        out.append(f"  {side:<10} {speed:>9,} tokens/s {row['ms_per_token'][side]:>9.2f} ms/token")
    told = (f"{name} {mid} [{low}, {high}]" for name, (mid, low, high) in row["ratio"].items())
    return [*out, "  times as fast: " + ", ".join(told)]


if __name__ == "__main__":
    main()
