"""How the workflow's own work grows with the number of runs: seconds and peak memory.

    python benchmarks/growth.py [--runs 10 100 1000 10000] [--flat] [--keep FOLDER] [--json FILE]

For each number of runs a study is made whose runs are finished without training
(`growth_study.py`), and each command is a process of its own: `scalelab plan`; Snakemake's graph
of jobs from nothing (a dry run) and where all runs are there; then collect, fit, figures, tables
and report, as the workflow calls them. `seconds` is the wall time, `processor` what the processor
spent, which other work on the machine disturbs less. The exponents are the powers of the number of
runs by which the latter grows from one number to the next: 1 is linear. Without --keep the studies
are removed.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scalelab.files import read_json, write_json

MAKER = Path(__file__).with_name("growth_study.py")
STUDY, ASKED = "growth.yaml", "asked.json"
PLAN = "results/growth/plan.json"
AFTER = ("collect", "fit", "report")
"""What follows the last run, for the sum in the table."""


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--flat", action="store_true", help="each run is a point of its own")
    parser.add_argument("--without", nargs="+", default=[], help="commands to leave out")
    parser.add_argument("--keep", type=Path, help="folder that keeps the studies")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    found: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for runs in args.runs:
            folder = (args.keep or Path(temporary)) / f"{runs}{'-flat' if args.flat else ''}"
            found[runs] = measure(folder, runs, args.flat, args.without)
            print(table({runs: found[runs]}), flush=True)
    print(table(found))
    if args.json:
        write_json(args.json, found)


def measure(folder: Path, runs: int, flat: bool, without: list[str]) -> dict[str, dict[str, float]]:
    """{command: {seconds, megabytes, and bytes of what it wrote}} of one study."""
    making = [sys.executable, str(MAKER), "--runs", str(runs), "--out", str(folder)]
    making += ["--flat"] if flat else []
    subprocess.run(making, check=True, capture_output=True)
    found = {}
    graph = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", STUDY]
    graph += ["--dry-run", "--quiet"]
    if "plan" not in without or not (folder / PLAN).exists():
        found["plan"] = timed(scalelab("plan", STUDY, "--json", PLAN), folder)
    if "graph" not in without:
        empty = folder.with_name(f"{folder.name}-empty")
        subprocess.run([*making, "--out", str(empty)], check=True, capture_output=True)
        found["graph, no run there"] = timed(graph, empty)
    if not (folder / "results/growth/runs.csv").exists():
        subprocess.run([*making, "--finish"], check=True, capture_output=True)
    for name, words in commands(folder).items():
        if name not in without:
            found[name] = timed(words, folder)
            found[name] |= written(folder / "results" / "growth", name)
    if "graph" not in without:
        found["graph, all runs there"] = timed(graph, folder)
    return found


def commands(folder: Path) -> dict[str, list[str]]:
    """The verbs that follow training, as the workflow's rules call them."""
    asked = read_json(folder / ASKED)
    only = [word for kind in asked["figures"] for word in ("--only", kind)]
    out = "results/growth"
    files = ["--runs", f"{out}/runs.csv", "--laws", f"{out}/laws.json"]
    roots = ["--runs-root", "results/runs"]
    fits, answers = json.dumps(asked["fits"]), json.dumps(asked["answers"])
    manifest = f"results/corpora/{asked['corpus']}/manifest.json"
    return {
        "collect": scalelab(
            *("collect", "--plan", f"{out}/plan.json", *roots, "--out", f"{out}/runs.csv"),
            *("--checkpoints", f"{out}/checkpoints"),
        ),
        "fit": scalelab(
            *("fit", f"{out}/runs.csv", "--fits", fits, "--answers", answers, *roots),
            *("--study", "growth", "--json", f"{out}/laws.json"),
        ),
        "figures": scalelab(
            *("figures", *files, *roots, *only, "--or-reason", "--out", f"{out}/figures")
        ),
        "tables": scalelab("tables", *files, "--out", f"{out}/tables"),
        "report": scalelab(
            *("report", *files, *roots, "--figures", f"{out}/figures", "--manifest", manifest),
            *("--plan", f"{out}/plan.json", "--out", f"{out}/report.html"),
        ),
    }


def scalelab(*words: str) -> list[str]:
    """A command of this package."""
    return [sys.executable, "-m", "scalelab", *words]


def timed(words: list[str], folder: Path) -> dict[str, float]:
    """Wall seconds and peak memory of a command, in its folder."""
    began = time.perf_counter()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = (folder / "log").read_text(encoding="utf-8")[-2_000:]
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {told}")
    cpu = used.ru_utime + used.ru_stime
    return {
        "seconds": round(seconds, 2),
        "processor": round(cpu, 2),
        "megabytes": used.ru_maxrss >> 10,
    }


def written(study: Path, name: str) -> dict[str, float]:
    """Megabytes of the page, or of the largest vector file of a figure."""
    if name == "report":
        return {"file_megabytes": (study / "report.html").stat().st_size / 1e6}
    if name == "figures":
        drawn = [path for end in ("pdf", "svg") for path in study.glob(f"figures/*.{end}")]
        sizes = [path.stat().st_size for path in drawn]
        return {"file_megabytes": max(sizes) / 1e6}
    return {}


def table(found: dict[int, dict[str, dict[str, float]]]) -> str:
    """A line a command: seconds, processor seconds and megabytes for each number, exponents."""
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    lines = ["".join([f"{'':24}", *(f"{runs:>26,}" for runs in found), "   exponents"])]
    for name in [*names, " + ".join(AFTER)]:
        cells, spent = "", {}
        for runs, one in found.items():
            wanted = AFTER if name not in names else (name,)
            if not all(part in one for part in wanted):
                cells += f"{'':>26}"
                continue
            parts = [one[part] for part in wanted]
            spent[runs] = sum(part["processor"] for part in parts)
            seconds = sum(part["seconds"] for part in parts)
            most = max(part["megabytes"] for part in parts)
            cells += f"{seconds:>9.1f} ({spent[runs]:>5.1f}) s{most:>5.0f} MB"
        powers = [
            math.log(spent[b] / spent[a]) / math.log(b / a) for a, b in itertools.pairwise(spent)
        ]
        lines.append(f"{name:24}{cells}   {' '.join(f'{power:.2f}' for power in powers)}")
    for runs, one in found.items():
        files = {name: c["file_megabytes"] for name, c in one.items() if "file_megabytes" in c}
        told = [f"{name} {size:.2f} MB" for name, size in files.items()]
        lines.append(f"{runs:,} runs, largest files: {', '.join(told)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
