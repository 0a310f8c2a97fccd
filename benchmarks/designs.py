"""How many runs an interval of a given half-width needs, by span of N and noise.

    python benchmarks/designs.py [--quantity alpha] [--half-width 0.02] [--repeats 200]

Designs are factorials of N and D/N: 4 to 12 sizes, evenly in log N, each at 2 to 5 values of D/N
from 5 to 80. For each span, noise and prior law the one of fewest runs whose expected half-width is
small enough is found with the information matrix and checked by simulation.
"""

import argparse
import itertools
from typing import Any

import numpy as np

from scalelab.advise import expected

PRIORS = ("besiroglu2024", "hoffmann2022", "hoffmann2022-unrounded")
SIZES, RATIOS = range(4, 13), range(2, 6)
SMALLEST = 1e6


def factorial(sizes: int, ratios: int, span: float) -> list[dict[str, float]]:
    """Rows {N, D} of an N by D/N factorial."""
    n, ratio = np.geomspace(SMALLEST, SMALLEST * span, sizes), np.geomspace(5, 80, ratios)
    return [{"N": a, "D": a * b} for a, b in itertools.product(n.tolist(), ratio.tolist())]


def fewest(span: float, prior: str, noise: float, args: argparse.Namespace) -> dict[str, Any]:
    """The design of fewest runs that is expected to reach the half-width, and what it gives."""
    order = sorted(itertools.product(SIZES, RATIOS), key=lambda pair: (pair[0] * pair[1], pair))
    best = np.inf
    for sizes, ratios in order:
        rows = factorial(sizes, ratios, span)
        ask = (rows, prior, noise, [args.quantity])
        half = expected(*ask, engine="matrix")[args.quantity].half_width
        best = min(best, half)
        if half > 1.15 * args.half_width:
            continue
        found = expected(*ask, repeats=args.repeats, engine="auto")[args.quantity]
        if found.half_width <= args.half_width:
            return {
                "runs": len(rows),
                "sizes": sizes,
                "ratios": ratios,
                "half_width": found.half_width,
                "coverage": found.coverage,
            }
    return {"runs": None, "half_width": best}


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quantity", default="alpha")
    parser.add_argument("--half-width", type=float, default=0.02)
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args()
    print(f"runs for {args.quantity} +- {args.half_width} (sizes x ratios, half-width, coverage)\n")
    print("| span of N | noise | " + " | ".join(PRIORS) + " |")
    print("| --- " * (len(PRIORS) + 2) + "|")
    for span in (1000, 100, 30, 10):
        for noise in (0.002, 0.003, 0.005, 0.01):
            cells = []
            for prior in PRIORS:
                one = fewest(span, prior, noise, args)
                cells.append(
                    f"over {max(SIZES) * max(RATIOS)} (best {one['half_width']:.3f})"
                    if one["runs"] is None
                    else f"{one['runs']} ({one['sizes']} x {one['ratios']}, "
                    f"{one['half_width']:.3f}, {one['coverage']:.0%})"
                )
            print(f"| {span} | {noise:.1%} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
