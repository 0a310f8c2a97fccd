"""How often the 95% intervals of a fit hold the truth: a simulation that prints a table.

    python benchmarks/coverage.py [--quick | --all] [--replicates 300] [--seed 0] [--json FILE]

One-column designs: L = 1.8 + 60 N^-0.25, sizes log-spaced over two decades. Two-column designs:
L = 1.69 + 406.4 N^-0.34 + 410.7 D^-0.28 (Hoffmann et al. 2022, section D.3), two decades of N and
of D. Log-normal noise of 0.3% on each run; in clustered designs 0.5% more that the points of a
size or of a run share. Every replicate is estimated from scratch with the code of `laws.fit`,
whatever comes out; a fit that is refused counts as not covering.

`inside`: the mean curve amid the points. `10x`: ten times each x of the largest point, the mean
curve and one new run. `a`: exponent of N_opt; `N_opt`: its value at ten times the largest C.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from coverage_designs import Design, plan

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.allocation.closed import optimum
from scalelab.laws.estimation.estimate import Estimate, check_result, estimate
from scalelab.laws.fitting import parameter_intervals
from scalelab.laws.judgement.checklist import leave_one_out, outlier_p
from scalelab.laws.result import prediction_interval
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.intervals import choose, uncertainty
from scalelab.laws.uncertainty.springs import Target

RESAMPLES = 300
LEVEL = 0.95
CURVE = ("L inside", "L at 10x", "run at 10x")
OPTIMUM = ("a", "N_opt")


def main() -> None:
    """Print the coverage of each design, in percent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="two designs, a minute")
    parser.add_argument("--all", action="store_true", help="every method, not only the default")
    parser.add_argument("--only", help="designs whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the table to this file too")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for design, objective, methods in plan(args.all, args.quick):
        if args.only and args.only not in design.name:
            continue
        found = measure(design, objective, methods, args.replicates, args.seed)
        for row in found:
            print_row(row, header=not rows or len(rows[-1]["coverage"]) != len(row["coverage"]))
            rows.append(row)
        if args.json:
            with open(args.json, "w", encoding="utf-8") as handle:
                json.dump(rows, handle, indent=1)


def measure(
    design: Design, objective: str, methods: Sequence[str], replicates: int, seed: int
) -> list[dict[str, Any]]:
    """Coverage of each quantity over the replicates of one design, a row a method."""
    form = registry.get(design.law)
    generator = np.random.default_rng([seed, len(design.x), design.x.shape[1]])
    member = np.arange(len(design.x)) if design.member is None else design.member
    default = choose(design.member is not None, int(member.max()) + 1, objective)
    methods = list(dict.fromkeys(default if m == "auto" else m for m in methods))
    names = [*design.truth, *CURVE, *(OPTIMUM if len(design.x[0]) > 1 else ())]
    hits: dict[str, list] = {method: [] for method in methods}
    widths: dict[str, list] = {method: [] for method in methods}
    cpu = dict.fromkeys(methods, 0.0)
    alarms = np.zeros(2)
    truth = np.log(form.value(form.theta(design.truth)[None], np.log(design.x))[0])
    for _ in range(replicates):
        noise, new = design.noise(generator)
        try:
            best = estimate(form, design.x, truth + noise, objective)
            check_result(best)
        except UserError:
            for method in methods:
                hits[method].append([False] * len(names))
            continue
        alarms += false_alarms(best)
        for method in methods:
            began = time.process_time()
            inside, width = covered(design, best, method, objective, new)
            cpu[method] += time.process_time() - began
            hits[method].append(inside)
            widths[method].append(width)
    return [
        {
            "design": design.name,
            "objective": objective,
            "method": method,
            "default": method == default,
            "replicates": replicates,
            "coverage": dict(zip(names, np.mean(hits[method], 0).tolist(), strict=True)),
            "width": float(np.median(widths[method])),
            "moved": alarms[0] / replicates,
            "outlying": alarms[1] / replicates,
            "seconds": cpu[method] / replicates,
        }
        for method in methods
    ]


def covered(
    design: Design, best: Estimate, method: str, objective: str, new: float
) -> tuple[list[bool], float]:
    """Whether each quantity's interval holds the truth; the width of that of ln L at 10x."""
    settings = Settings(objective, intervals=method, resamples=RESAMPLES)
    member = np.arange(len(design.x)) if design.member is None else design.member
    by = None if design.member is None else "run" if "runs" in design.name else "N"
    sure = uncertainty(best, settings, member, by)
    ends = parameter_intervals(sure, LEVEL)[1]
    pairs = [(*ends[name], value) for name, value in design.truth.items()]
    top = design.x[int(np.argmax(np.log(design.x).sum(1)))]
    where = np.array([np.exp(np.log(design.x).mean(0)), 10 * top])
    form = best.base
    aims = form.value(form.theta(design.truth)[None], np.log(where))[0]
    curve = prediction_interval(best, where, LEVEL, sure, False)[0]
    run = prediction_interval(best, where[1:], LEVEL, sure, True)[0]
    pairs += [(*pair, aim) for pair, aim in zip(curve, aims, strict=True)]
    pairs.append((*run[0], aims[1] * np.exp(new)))
    if len(where[0]) > 1:
        flops = 60 * design.x.prod(1).max()
        for function in (_share, _log_n(form, flops)):
            end = sure.ends([Target(function=function)], LEVEL)[0]
            pairs.append((*end, float(function(design.truth))))
    inside = [(low is None or low <= v) and (high is None or v <= high) for low, high, v in pairs]
    return [bool(one) for one in inside], float(np.log(curve[1, 1] / curve[1, 0]))


def _share(p: Any) -> Any:
    return p["beta"] / (p["alpha"] + p["beta"])


def _log_n(form: Any, flops: float) -> Callable[[Any], Any]:
    return lambda p: optimum(form, p, flops)[0]


def false_alarms(best: Estimate) -> np.ndarray:
    """Whether leaving out a size moves an exponent by its error; whether a size is outlying."""
    table = leave_one_out(best)
    shifts = np.array([max(abs(v) for v in row["shifts"].values()) for row in table])
    return np.array([(shifts > 1).any(), (outlier_p(best, table) < 0.05 / len(table)).any()])


def print_row(row: dict[str, Any], header: bool) -> None:
    """One line of a Markdown table; the default method is marked."""
    names = ["design", "objective", "method", *row["coverage"], "width", "moved", "outlying", "s"]
    if header:
        print("\n| " + " | ".join(names) + " |")
        print("|" + "---|" * len(names))
    cells = [row["design"], row["objective"], row["method"] + " *" * row["default"]]
    cells += [f"{100 * v:.1f}" for v in row["coverage"].values()]
    cells += [f"{row['width']:.4f}", *(f"{100 * row[key]:.0f}" for key in ("moved", "outlying"))]
    print("| " + " | ".join([*cells, f"{row['seconds']:.2f}"]) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
