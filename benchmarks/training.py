"""Training speed against transformers' Trainer and a nanoGPT-style loop, on the CPU, in one run.

    python benchmarks/training.py [--quick] [--json FILE]

GPT-2 shapes of 1e4 to 1e7 non-embedding parameters with the depth, heads, context, vocabulary and
batch of config/quickstart.yaml; every side takes as many tokens a step from the same file. Each
measurement is a fresh process, whose first steps are not counted; the sides take turns in several
rounds, and medians are compared. Two arrangements: one process with all cores as threads, and one
one-thread process a core, started together and counted while all of them run (sum of tokens/s).

`ratio` is how many times as fast we are. Ours is precision auto in the quicker arrangement, since
the workflow runs small models side by side. `trainer_default`: against Trainer at its defaults
(fp32, one process with all cores); `trainer_best`: against the better of its fp32 and bf16, in one
process as it runs; `nanogpt_best`: likewise; `trainer_beside` and `nanogpt_beside`: against their
best in either arrangement, for someone who starts several of them by hand. Over the ladder it is
the ratio of the times to train all sizes on equal tokens. `mfu` is the training FLOPs that we count
over those of a large product of matrices in the same precision on all cores. What is far behind its
side's best after the first round is left out of the others; bf16 is left out of larger sizes where
it was half as fast and its products are slower too. Needs `accelerate`, as Trainer does. Ten
minutes on two cores; --quick: one and a half.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_processes import ask, cores, start_seconds, tokens_per_second
from training_sides import SIDES, Job, parity, products

from scalelab import config
from scalelab.plan.runs import build

STUDY = Path(__file__).parents[1] / "config" / "quickstart.yaml"
TOKENS = 8_000_000
"""In the file, for one epoch: more than a measurement sees."""
ONE, BESIDE = "one_process", "side_by_side"
VARIANTS = {
    "ours": ("ours", "auto"),
    "trainer_fp32": ("trainer", "fp32"),
    "nanogpt_fp32": ("nanogpt", "fp32"),
    "trainer_bf16": ("trainer", "bf16"),
    "nanogpt_bf16": ("nanogpt", "bf16"),
}
DEFAULT = f"trainer_fp32_{ONE}"
KINDS = ("trainer_default", "trainer_best", "nanogpt_best", "trainer_beside", "nanogpt_beside")


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    sizes: tuple[int, ...]
    """Targets of N."""
    rounds: int
    """Turns of all sides."""
    warm_seconds: float
    """Before a measurement."""
    seconds: float
    """Of a measurement."""
    keep: float
    """What is below this share of its side's best in the first round is not measured again."""
    starts: int
    """Starts of each side."""


FULL = Effort((10_000, 100_000, 1_000_000, 3_000_000, 10_000_000), 5, 0.4, 1.2, 0.8, 3)
QUICK = Effort((10_000, 100_000, 1_000_000), 2, 0.3, 0.8, 0.9, 1)


@dataclass
class Size:
    """A size and what was measured at it."""

    spec: dict[str, Any]
    """The run's specification."""
    n: int
    """Non-embedding parameters."""
    flops: int
    """Of training, per token."""
    speeds: dict[str, list[float]] = field(default_factory=dict)
    """Tokens/s of each round, by variant and arrangement."""
    precision: str = ""
    """What `auto` was for ours."""

    def speed(self, key: str) -> float:
        """Median over the rounds."""
        return statistics.median(self.speeds[key])

    def best(self, prefix: str, ending: str = "") -> str:
        """The quickest of those whose name starts and ends so."""
        names = (key for key in self.speeds if key.startswith(prefix) and key.endswith(ending))
        return max(names, key=self.speed)

    def theirs(self, kind: str) -> float:
        """Tokens/s of what a ratio compares with."""
        if kind == "trainer_default":
            return self.speed(DEFAULT)
        side, _, which = kind.partition("_")
        return self.speed(self.best(side, ONE if which == "best" else ""))

    def ratio(self, kind: str) -> float:
        """How many times as fast we are."""
        return self.speed(self.best("ours")) / self.theirs(kind)


def main() -> None:
    """Print the comparison, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to N = 1e6, fewer rounds")
    parser.add_argument("--json", help="write the numbers to this file too")
    args = parser.parse_args()
    if importlib.util.find_spec("accelerate") is None:
        raise SystemExit("transformers' Trainer needs accelerate: pip install accelerate")
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "SCALELAB_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"}
    effort = QUICK if args.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        result = measure(effort, Path(folder))
    print("\n".join(lines(result)))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(effort: Effort, folder: Path) -> dict[str, Any]:
    """Everything, as the JSON has it."""
    began = time.perf_counter()
    sizes = ladder(effort)
    tokens = draw_tokens(folder / "tokens.bin", sizes[0].spec["model"]["vocab"])
    # First, since it brings the libraries into the page cache.
    differences = ask(parity, [size.spec for size in sizes], tokens)
    starts = {
        side: start_seconds(
            Job(side, "fp32", cores(), sizes[0].spec, tokens), STUDY, effort.starts, folder
        )
        for side in SIDES
    }
    peak: dict[str, float] = ask(products, cores())
    skipped: set[str] = set()
    for size in sizes:
        for number in range(effort.rounds):
            one_round(size, chosen(size, number, skipped, effort.keep), effort, tokens, folder)
        peak = {kind: max(rate, peak[kind]) for kind, rate in ask(products, cores()).items()}
        skipped |= hopeless(size, peak)
        ratios = ", ".join(f"{kind} {size.ratio(kind):.2f}" for kind in KINDS)
        seconds = time.perf_counter() - began
        print(f"N = {size.n:,}: {ratios}; {seconds:.0f} s since the start", flush=True)
    rows = [as_row(size, peak[size.precision]) for size in sizes]
    return {
        "ratio": {kind: over_ladder(sizes, kind) for kind in KINDS},
        "slowest_ratio": {kind: min(row["ratio"][kind] for row in rows) for kind in KINDS},
        "sizes": rows,
        "start_seconds": starts,
        "loss_difference": max(differences, key=abs),
        "machine": machine(peak),
        "seconds": time.perf_counter() - began,
    }


def ladder(effort: Effort) -> list[Size]:
    """The study's runs at our sizes, the smallest first."""
    changed = {
        "ladder": {"widths": [], "sizes": list(effort.sizes), "smallest_seeds": 1},
        "training": {"tokens": 0.99 * TOKENS},
    }
    runs = build(config.load(STUDY, changed)).runs
    sizes = [Size(run.spec, run.counts.n, run.counts.training_flops) for run in runs]
    return sorted(sizes, key=lambda size: size.n)


def draw_tokens(path: Path, vocab: int) -> str:
    """Write tokens drawn by Zipf's law over the vocabulary."""
    shares = 1 / np.arange(1, vocab + 1)
    edges = np.cumsum(shares / shares.sum())
    drawn = np.searchsorted(edges, np.random.default_rng(0).random(TOKENS))
    np.minimum(drawn, vocab - 1).astype("<u2").tofile(path)
    return str(path)


def chosen(size: Size, number: int, skipped: set[str], keep: float) -> list[tuple[str, str]]:
    """Variants and arrangements of a round, in the order in which they are measured."""
    arrangements = (ONE, BESIDE) if cores() > 1 else (ONE,)
    every = [(variant, how) for how in arrangements for variant in VARIANTS]
    every = [(variant, how) for variant, how in every if variant not in skipped]
    if number == 0:
        return every
    first = {key: speeds[0] for key, speeds in size.speeds.items()}
    best = {
        (side, how): max(v for k, v in first.items() if k.startswith(side) and k.endswith(how))
        for side in SIDES
        for how in arrangements
    }
    return [
        (variant, how)
        for variant, how in every
        if f"{variant}_{how}" == DEFAULT
        or first[f"{variant}_{how}"] >= keep * best[VARIANTS[variant][0], how]
    ]


def one_round(
    size: Size, turns: list[tuple[str, str]], effort: Effort, tokens: str, folder: Path
) -> None:
    """Measure each of `turns` once."""
    for variant, how in turns:
        side, precision = VARIANTS[variant]
        processes, threads = (1, cores()) if how == ONE else (cores(), 1)
        job = Job(
            side,
            precision,
            threads,
            size.spec,
            tokens,
            warm_seconds=effort.warm_seconds,
            seconds=effort.seconds,
        )
        speed, found = tokens_per_second(job, processes, folder)
        size.speeds.setdefault(f"{variant}_{how}", []).append(speed)
        if side == "ours":
            size.precision = found


def hopeless(size: Size, peak: dict[str, float]) -> set[str]:
    """Variants in bf16 that are not tried at larger sizes."""
    slow = set()
    for side in ("trainer", "nanogpt"):
        tried = any(key.startswith(f"{side}_bf16") for key in size.speeds)
        if tried and peak["bf16"] < peak["fp32"]:
            half, full = size.best(f"{side}_bf16"), size.best(f"{side}_fp32")
            if size.speed(half) < size.speed(full) / 2:
                slow.add(f"{side}_bf16")
    return slow


def as_row(size: Size, peak: float) -> dict[str, Any]:
    """A size as the JSON has it."""
    mine = size.best("ours")
    return {
        "N": size.n,
        "width": size.spec["model"]["width"],
        "tokens_per_second": {key: size.speed(key) for key in size.speeds},
        "rounds": size.speeds,
        "ratio": {kind: size.ratio(kind) for kind in KINDS},
        "mfu": size.speed(mine) * size.flops / peak,
        "training_flops_per_token": size.flops,
        "precision": size.precision,
        "arrangement": mine.removeprefix("ours_"),
        "arrangement_of_study": BESIDE if size.spec["threads"] == 1 else ONE,
    }


def over_ladder(sizes: list[Size], kind: str) -> float:
    """Their time to train all sizes on equal tokens over ours."""
    ours = sum(1 / size.speed(size.best("ours")) for size in sizes)
    return sum(1 / size.theirs(kind) for size in sizes) / ours


def machine(peak: dict[str, float]) -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": cores(),
        "processor": platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "product_flops_per_second": peak,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """The comparison as text."""
    rows, where = result["sizes"], result["machine"]
    rates = where["product_flops_per_second"]
    names = [f"{variant}_{how}" for variant in VARIANTS for how in (ONE, BESIDE)]
    names = [name for name in names if any(name in row["tokens_per_second"] for row in rows)]
    wide = max(map(len, names)) + 2
    out = [
        f"{where['cores']} cores ({where['cpu_capability']}), torch {where['torch']}, transformers "
        f"{where['transformers']}; product of matrices: {rates['fp32'] / 1e9:.0f} GFLOP/s in fp32, "
        f"{rates['bf16'] / 1e9:.1f} in bf16",
        f"loss of ours less that of GPT2LMHeadModel at equal weights: at most "
        f"{abs(result['loss_difference']):.1e} nats",
        "tokens/s".ljust(wide) + "".join(f"N = {row['N']:,}".rjust(16) for row in rows),
    ]
    for name in names:
        speeds = [row["tokens_per_second"].get(name) for row in rows]
        cells = ["-" if speed is None else f"{speed:,.0f}" for speed in speeds]
        out.append(name.ljust(wide) + "".join(cell.rjust(16) for cell in cells))
    out.append("times as fast")
    for kind in KINDS:
        cells = [f"{row['ratio'][kind]:.2f}" for row in rows]
        out.append(
            kind.ljust(wide)
            + "".join(cell.rjust(16) for cell in cells)
            + f"   ladder {result['ratio'][kind]:.2f}, slowest {result['slowest_ratio'][kind]:.2f}"
        )
    for name in ("precision", "arrangement", "arrangement_of_study"):
        out.append(name.ljust(wide) + "".join(row[name].rjust(16) for row in rows))
    out.append("mfu".ljust(wide) + "".join(f"{row['mfu']:.0%}".rjust(16) for row in rows))
    starts = ", ".join(f"{side} {took:.2f} s" for side, took in result["start_seconds"].items())
    return [*out, f"start of python to the first step: {starts}", f"{result['seconds']:.0f} s"]


if __name__ == "__main__":
    main()
