"""How long one figure of a finished study takes to draw anew, beside all of them.

    python benchmarks/figures.py --study results/isoflop [--only isoflop] [--times 5]

Both sides are the command as a person runs it, a process of its own each time, in turn. `seconds`
are medians of the wall time, `processor` of the time that the processor spent, which other work on
the machine disturbs less. `ratio` is that of all figures to the one.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scalelab.files import write_json


def main() -> None:
    """Measure, print, and write as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, required=True, help="folder of a finished study")
    parser.add_argument("--only", default="isoflop", help="the figure")
    parser.add_argument("--style", default="neurips")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args()
    result = measure(args.study, args.only, args.style, args.times)
    print("\n".join(f"{name}: {value}" for name, value in result.items()))
    if args.json:
        write_json(args.json, result)


def measure(study: Path, only: str, style: str, times: int) -> dict[str, Any]:
    """Both commands in turn."""
    taken: dict[str, list[tuple[float, float]]] = {"one": [], "all": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            for side, options in (("one", ["--only", only]), ("all", [])):
                words = ["figures", "--study", str(study), "--style", style, "--out", folder]
                taken[side].append(timed([*words, *options]))
    seconds = {side: statistics.median(wall for wall, _ in taken[side]) for side in taken}
    return {
        "figure": only,
        "style": style,
        "seconds": round(seconds["one"], 2),
        "seconds_of_all": round(seconds["all"], 2),
        "processor": round(statistics.median(cpu for _, cpu in taken["one"]), 2),
        "ratio": round(seconds["all"] / seconds["one"], 2),
    }


def timed(words: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "scalelab", *words], check=True, capture_output=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
