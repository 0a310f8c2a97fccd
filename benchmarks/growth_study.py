"""Studies of any number of runs, finished without training: for `growth.py`.

    python benchmarks/growth_study.py --runs 1000 --out FOLDER [--flat] [--finish]

Writes a folder with links to the project and the study file `growth.yaml`. With --finish the
smallest run is trained, and each run gets files made after its: run.json, metrics.jsonl, the
evaluation and a folder in place of the checkpoint. Losses follow
L = E + A N^-alpha + B D^-beta + k (ln(lr / best))^2 with 0.3% noise. --flat: no seeds and no
learning rates, so that each run is a point of its own to the laws.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scalelab import config
from scalelab.evaluation.columns import SCORES
from scalelab.files import read_json, write_json
from scalelab.plan.runs import Plan, Run, build
from scalelab.training.loop import write_metrics
from scalelab.training.run import read_metrics
from workflow import PARTS, ROOT

STUDY, ASKED = "growth.yaml", "asked.json"
"""The study, and what its plan asks of its runs."""
E, A, ALPHA, B, BETA, CURVATURE, NOISE = 1.1, 10.0, 0.21, 40.0, 0.46, 0.02, 0.003
RATE, SPEED, LINES, FIRST = 3e-3, 4e9, 60, math.log(257)
"""The best learning rate, FLOPs a second, lines of metrics of a run, the loss of an even guess."""

SHAPES = {10: (4, 3, 1, 1), 100: (10, 5, 2, 1), 1_000: (20, 5, 2, 5), 10_000: (40, 10, 5, 5)}
"""Sizes, values of D, seeds and learning rates that make a number of runs."""
FLAT = {10: (4, 3), 100: (10, 10), 1_000: (40, 25), 10_000: (100, 100)}
"""The same with sizes and values of D alone."""


def main() -> None:
    """Write the project, and the results where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--flat", action="store_true", help="each run is a point of its own")
    parser.add_argument("--finish", action="store_true", help="write the results of all runs")
    args = parser.parse_args()
    if not args.out.exists():
        make(args.out, shape(args.runs, args.flat))
    if args.finish:
        finish(args.out)


def shape(runs: int, flat: bool) -> tuple[int, int, int, int]:
    """Sizes, values of D, seeds and learning rates of a study of about so many runs."""
    if flat:
        sizes, tokens = FLAT.get(runs) or (math.isqrt(runs), math.isqrt(runs))
        return sizes, tokens, 1, 1
    if runs in SHAPES:
        return SHAPES[runs]
    sizes = max(5, round(math.sqrt(runs / 5)))
    return sizes, max(1, round(runs / sizes / 10)), 2, 5


def make(folder: Path, counts: tuple[int, int, int, int]) -> None:
    """A project whose study crosses so many sizes, values of D, seeds and learning rates."""
    folder.mkdir(parents=True)
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    random = np.random.default_rng(3)
    words = ["".join(random.choice(list("etaoinshr"), 5)) for _ in range(500)]
    texts = [{"text": " ".join(random.choice(words, 500))} for _ in range(200)]
    lines = "".join(f"{json.dumps(text)}\n" for text in texts)
    (folder / "text.jsonl").write_text(lines, encoding="utf-8")
    sizes, tokens, seeds, rates = counts
    study: dict[str, Any] = {
        "study": "growth",
        "corpus": {
            "source": "files",
            "paths": ["text.jsonl"],
            "tokenizer": "bytes",
            "test_tokens": 20_000,
            "tuning_tokens": 5_000,
        },
        "model": {"depth": 1, "heads": 2, "context": 32},
        "ladder": {"widths": [8 + 4 * rank for rank in range(sizes)], "seeds": seeds},
        "design": {"kind": "grid", "tokens": spread(8_000, 100_000, tokens)},
        "training": {"batch_tokens": 256, "lr": RATE, "precision": "fp32"},
    }
    if rates > 1:
        values = np.geomspace(RATE / 4, RATE * 4, rates)
        study["axes"] = {"training.lr": [float(f"{value:.4g}") for value in values]}
        del study["training"]["lr"]
    (folder / STUDY).write_text(json.dumps(study, indent=1), encoding="utf-8")
    plan = plan_of(folder)
    asked = {"fits": plan.fits, "answers": plan.answers, "figures": plan.figures}
    write_json(folder / ASKED, {"corpus": plan.corpus_id, "runs": len(plan.runs), **asked})


def spread(first: int, last: int, number: int) -> list[int]:
    """Whole steps of 256 tokens, evenly apart in the logarithm as far as they differ."""
    ideal = np.geomspace(first, last, number) / 256
    found: list[int] = []
    for steps in ideal:
        found.append(max(round(steps), found[-1] + 1 if found else 1))
    return [256 * steps for steps in found]


def finish(folder: Path) -> None:
    """Results of all runs of the study: the smallest one's are real, the others' of the law."""
    plan = plan_of(folder)
    smallest = plan.runs[-1]
    root = folder / "results" / "runs"
    targets = [f"results/runs/{smallest.id}/eval/{plan.evaluation_id}.json"]
    words = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", STUDY, "--quiet"]
    # Three jobs of their own: a graph of the whole study is what is measured later.
    if not (folder / targets[0]).exists():
        subprocess.run([*words, "all", "--", *targets], cwd=folder, check=True)
    real = read_json(root / smallest.id / "run.json")
    score = read_json(folder / targets[0])
    line = read_metrics(root / smallest.id / "metrics.jsonl")[0]
    random = np.random.default_rng(5)
    for run in plan.runs:
        noise = float(np.exp(NOISE * random.standard_normal()))
        write_run(root / run.id, plan, run, law(run) * noise, (real, line, score))


def plan_of(folder: Path) -> Plan:
    """The plan of the study, made in its folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return build(config.load(STUDY, {}))
    finally:
        os.chdir(before)


def law(run: Run, tokens: float | None = None) -> float:
    """The loss of a run, in nats, at its end or on the way there."""
    tokens = tokens or run.tokens
    bent = CURVATURE * math.log(run.spec["training"]["lr"] / RATE) ** 2
    return min(float(E + A * run.counts.n**-ALPHA + B * tokens**-BETA + bent), FIRST)


def write_run(folder: Path, plan: Plan, run: Run, loss: float, real: tuple[Any, ...]) -> None:
    """The files that collect, fit, figures and report read of a run.

    real: the same of a run that was trained: run.json, a line of metrics, its evaluation.
    """
    trained, line, score = real
    item = {"N": run.counts.n, "N_total": run.counts.n_total, "N_embedding": run.counts.n_embedding}
    steps, seconds = run.spec["training"]["steps"], run.flops / SPEED
    result = {
        **trained,
        "id": run.id,
        "spec": run.spec,
        "counts": {**trained["counts"], **item},
        "D": run.tokens,
        "steps": steps,
        "C": run.flops,
        "C_6ND": 6 * run.counts.n * run.tokens,
        "train_loss_nats": loss,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(run.tokens / seconds, 1),
        "checkpoint_bytes": 4 * run.counts.n_total,
    }
    lines = [
        {
            **line,
            "step": int(step),
            "tokens": int(step * run.tokens // steps),
            "flops": int(step * run.flops // steps),
            "loss_nats": law(run, step * run.tokens / steps),
        }
        for step in np.unique(np.linspace(1, steps, LINES).astype(int))
    ]
    bits = loss / math.log(2)
    values = dict(zip(SCORES, (loss, NOISE * loss, math.exp(loss), bits), strict=True))
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.jsonl", lines)
    write_json(folder / "eval" / f"{plan.evaluation_id}.json", {**score, "run": run.id, **values})
    write_json(folder / "run.json", result)


if __name__ == "__main__":
    main()
