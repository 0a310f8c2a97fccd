"""Processes of benchmarks/training.py: fresh ones, measured together, and how soon one starts."""

import functools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from training_sides import Job, as_argument, work

from scalelab import config
from scalelab.plan.runs import build

PATIENCE = 300
"""Seconds without a word from a process after which the benchmark gives up."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def context() -> Any:
    """How processes start: forked from a server that has imported the libraries and done nothing
    else, so that a measurement need not wait for them."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        [
            "scalelab.training.loop",
            "scalelab.models.families.gpt2",
            "transformers.trainer",
            "transformers.models.gpt2.modeling_gpt2",
        ]
    )
    return processes


def begin(function: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
    """A process of its own that calls `function`, and our end of the line to it."""
    line, theirs = context().Pipe()
    process = context().Process(target=function, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return process, line


def ask(function: Callable[..., None], *arguments: Any) -> Any:
    """What `function` sends from a process of its own."""
    process, line = begin(function, *arguments)
    answer = hear(line, Path(os.devnull))
    process.join()
    return answer


def hear(line: Any, output: Path) -> Any:
    """The next message; what the process printed where it died or is stuck."""
    try:
        if line.poll(PATIENCE):
            return line.recv()
        what = "is silent"
    except EOFError:
        what = "died"
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    raise SystemExit(f"a measured process {what}:\n{text[-2000:]}")


def tokens_per_second(job: Job, count: int, folder: Path) -> tuple[float, str]:
    """Sum over `count` processes that are measured together, and the precision they took."""
    running = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            for index in range(count):
                own = Path(name) / str(index)
                own.mkdir()
                process, line = begin(work, replace(job, folder=str(own)))
                running.append((process, line, own / "output"))
            for _, line, output in running:
                hear(line, output)
            for _, line, _ in running:
                line.send("go")
            measured = [hear(line, output) for _, line, output in running]
            for _, line, _ in running:
                line.send("stop")
            found = [hear(line, output) for _, line, output in running]
        finally:
            for process, line, _ in running:
                process.join(5)
                process.kill()
                process.join()
                line.close()
    batch = job.spec["training"]["batch_tokens"]
    return sum(steps * batch / seconds for steps, seconds in measured), found[0]


def start_seconds(job: Job, study: Path, repeats: int, folder: Path) -> float:
    """From the start of python to the end of the first step, in a folder of its own."""
    once = start_of_verb if job.side == "ours" else start_of_side
    data = corpus(study, folder) if job.side == "ours" else folder
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            times.append(once(replace(job, folder=name), data))
    return statistics.median(times)


def start_of_side(job: Job, _: Path) -> float:
    """A side alone: it prints when its first step has ended."""
    words = [sys.executable, str(Path(__file__).with_name("training_sides.py")), as_argument(job)]
    began = time.time()
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout.split()[0]) - began


def start_of_verb(job: Job, data: Path) -> float:
    """`python -m scalelab train`: until the state that it saves after its first step is there
    (the second's, where the first one's was missed)."""
    folder = Path(job.folder)
    spec = {**job.spec, "training": {**job.spec["training"], "steps": 10}}
    words = [sys.executable, "-m", "scalelab", "train", "--checkpoint-seconds", "0"]
    words += ["--spec", json.dumps(spec), "--corpus", str(data), "--out", str(folder / "run")]
    words += ["--threads", str(job.threads)]
    with open(folder / "output", "w", encoding="utf-8") as out:
        began = time.time()
        process = subprocess.Popen(words, stderr=out)
        while not any((folder / "run" / "state").glob("0*.state")):
            if process.poll() is not None:
                raise SystemExit((folder / "output").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.001)
        seconds = time.time() - began
    process.terminate()
    process.wait()
    return seconds


def corpus(study: Path, folder: Path) -> Path:
    """A small corpus of made-up words, prepared by `scalelab corpus`."""
    generator = np.random.default_rng(0)
    letters = generator.integers(ord("a"), ord("z") + 1, (2000, 5))
    words = ["".join(map(chr, row)) for row in letters]
    with open(folder / "text.jsonl", "w", encoding="utf-8") as text:
        for _ in range(400):
            chosen = generator.zipf(1.3, 100) % len(words)
            text.write(json.dumps({"text": " ".join(words[i] for i in chosen)}) + "\n")
    changed = {
        "source": "files",
        "paths": [str(folder / "text.jsonl")],
        "max_bytes": None,
        "test_tokens": 2000,
        "tuning_tokens": 2000,
        "near_duplicate_threshold": None,
    }
    spec = json.dumps(build(config.load(study, {"corpus": changed})).corpus)
    out = folder / "corpus"
    verb = [sys.executable, "-m", "scalelab", "corpus", "--spec", spec, "--out", str(out)]
    subprocess.run(verb, check=True, stderr=subprocess.DEVNULL)
    return out
