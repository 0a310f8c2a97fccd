"""What the workflow itself costs: the time of a study that is neither training nor evaluation.

    python benchmarks/workflow.py [--study FILE] [--keep FOLDER] [--json FILE]

Runs `snakemake --cores all` on the study (the default one: 20 minutes on two cores) in a copy of
the project without results. Core-seconds in the steps of training and evaluation, as run.json and
the evaluations hold them, are compared with cores x wall time. The rest is the start of python and
its imports in each job, Snakemake, cores that wait for the last large run, the corpus, fits,
figures and report. `overhead` is its share; `overhead_without_corpus` leaves out the job that
prepares the text.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "workflow", "profiles", "config", "scalelab", "environment.yml")


def main() -> None:
    """Run, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", help="file in config/ (the default study)")
    parser.add_argument("--keep", type=Path, help="run in this new folder and leave it there")
    parser.add_argument("--json", help="write the numbers to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary) / "project"
        copy(folder)
        words = [sys.executable, "-m", "snakemake", "--cores", "all"]
        words += ["--configfile", args.study] if args.study else []
        began = time.monotonic()
        subprocess.run(words, cwd=folder, check=True)
        result = shares(folder / "results", time.monotonic() - began)
    print("\n".join(f"{name}: {value:.4g}" for name, value in result.items()))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def copy(folder: Path) -> None:
    """The files that a study needs, in a new folder."""
    folder.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy2(ROOT / part, folder / part)


def shares(results: Path, wall: float) -> dict[str, Any]:
    """Where the core-seconds of a finished study went."""
    cores = len(os.sched_getaffinity(0))
    runs = [json.loads(path.read_text()) for path in results.glob("runs/*/run.json")]
    training = sum(run["seconds"] * run["threads"] * run["processes"] for run in runs)
    scores = [json.loads(path.read_text()) for path in results.glob("runs/*/eval/*.json")]
    evaluation = sum(score["seconds"] for score in scores if "seconds" in score)
    corpus = sum(seconds(path) for path in results.glob("corpora/*/logs/corpus.tsv"))
    spent = training + evaluation
    return {
        "cores": cores,
        "runs": len(runs),
        "wall_seconds": wall,
        "training_core_seconds": training,
        "evaluation_core_seconds": evaluation,
        "corpus_seconds": corpus,
        "overhead": 1 - spent / (cores * wall),
        "overhead_without_corpus": 1 - spent / (cores * (wall - corpus)),
    }


def seconds(path: Path) -> float:
    """Of a job, from Snakemake's benchmark file."""
    with open(path, encoding="utf-8", newline="") as table:
        return float(next(csv.DictReader(table, delimiter="\t"))["s"])


if __name__ == "__main__":
    main()
