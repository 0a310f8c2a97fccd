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
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.allocation.allocate import closed_form
from scalelab.laws.estimation.estimate import Estimate, check_result, estimate
from scalelab.laws.fitting import parameter_intervals
from scalelab.laws.judgement.checklist import leave_one_out, outlier_p
from scalelab.laws.result import prediction_interval
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.intervals import choose, uncertainty
from scalelab.laws.uncertainty.springs import Target

ONE = {"E": 1.8, "A": 60.0, "alpha": 0.25}
TWO = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
NOISE, SHARED = 0.003, 0.005
RESAMPLES = 300
LEVEL = 0.95
CURVE = ("L inside", "L at 10x", "run at 10x")
OPTIMUM = ("a", "N_opt")


@dataclasses.dataclass(frozen=True)
class Design:
    """Points x (n, m), the cluster of each (n,) or None, and their noise.

    own (n,) is the noise of each point, `shared` that of a cluster. outliers: the share of points
    whose own noise is five times as large. A new run has the noise of the last point.
    """

    name: str
    x: np.ndarray
    own: np.ndarray
    member: np.ndarray | None = None
    shared: float = 0.0
    outliers: float = 0.0

    @property
    def law(self) -> str:
        """The law of that many columns."""
        return "power_offset" if self.x.shape[1] == 1 else "chinchilla"

    @property
    def truth(self) -> dict[str, float]:
        """Its parameters."""
        return ONE if self.x.shape[1] == 1 else TWO

    def noise(self, generator: np.random.Generator) -> tuple[np.ndarray, float]:
        """Noise of log loss of the points (n,), and of one new run."""
        count = len(self.x)
        spread = np.append(self.own, self.own[-1])
        spread = np.where(generator.random(count + 1) < self.outliers, 5 * spread, spread)
        own = generator.normal(size=count + 1) * spread
        if self.member is not None:
            effects = generator.normal(0, self.shared, int(self.member.max()) + 2)
            own += effects[np.append(self.member, self.member.max() + 1)]
        return own[:-1], float(own[-1])


def sizes(count: int, outliers: float = 0.0, ratio: float = 1.0) -> Design:
    """Sizes from 1e4 to 1e6; ratio: noise of the largest over that of the smallest."""
    own = np.geomspace(ratio**-0.5, ratio**0.5, count) * NOISE
    name = f"{count} sizes" + ", outliers" * bool(outliers)
    name += "" if ratio == 1 else ", noise rises" if ratio > 1 else ", noise falls"
    return Design(name, np.geomspace(1e4, 1e6, count)[:, None], own, outliers=outliers)


def scattered(count: int) -> Design:
    """Independent points of different N and D; D along a golden-ratio sequence."""
    turn = (np.arange(count) * 0.6180339887498949) % 1
    x = np.column_stack([np.geomspace(1e7, 1e9, count), 10 ** (9 + 2 * turn)])
    return Design(f"{count} points", x, np.full(count, NOISE))


def grid(groups: int, each: int) -> Design:
    """Each size at the same token counts: what a size shares is in all of them."""
    n, d = np.geomspace(1e7, 1e9, groups), np.geomspace(1e9, 1e11, each)
    x = np.column_stack([np.repeat(n, each), np.tile(d, groups)])
    member = np.repeat(np.arange(groups), each)
    name = f"{groups} sizes x {each} D"
    return Design(name, x, np.full(len(x), NOISE), member, SHARED)


def checkpoints(runs: int, each: int) -> Design:
    """Checkpoints of runs of different N, trained for 10, 40 or 160 tokens a parameter."""
    n = np.geomspace(1e7, 1e9, runs)
    end = n * np.resize([10.0, 40.0, 160.0], runs)
    d = end[:, None] * np.geomspace(0.2, 1, each)
    x = np.column_stack([np.repeat(n, each), d.ravel()])
    member = np.repeat(np.arange(runs), each)
    name = f"{runs} runs x {each} checkpoints"
    return Design(name, x, np.full(len(x), NOISE), member, SHARED)


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


def plan(everything: bool, quick: bool) -> list[tuple[Design, str, tuple[str, ...]]]:
    """(design, objective, methods); auto stands for the default."""
    squares, huber, default = "least_squares", "huber", ("auto",)
    if quick:
        return [(sizes(8), squares, default), (grid(8, 5), squares, default)]
    every = ("auto", "profile", "robust", "bootstrap", "parametric")
    rows: list[tuple[Design, str, tuple[str, ...]]] = [
        (sizes(8), squares, every),
        (sizes(12), squares, default),
        (sizes(20), squares, ("auto", "profile", "bootstrap")),
        (sizes(30), squares, default),
        (sizes(60), squares, ("auto", "bootstrap")),
        (sizes(12, ratio=4), squares, ("auto", "robust")),
        (sizes(30, ratio=4), squares, ("auto", "profile", "bootstrap")),
        (sizes(30, ratio=0.25), squares, ("auto", "profile")),
        (scattered(20), squares, ("auto", "profile")),
        (scattered(40), squares, default),
        (scattered(60), squares, default),
        (grid(5, 6), squares, default),
        (grid(8, 5), squares, every),
        (checkpoints(12, 5), squares, every),
        (checkpoints(24, 5), squares, ("auto", "bootstrap")),
        (sizes(8), huber, ("auto", "robust")),
        (sizes(12), huber, default),
        (sizes(20), huber, ("auto", "profile")),
        (sizes(30), huber, default),
        (sizes(60), huber, default),
        (sizes(12, outliers=0.1), huber, default),
        (sizes(30, outliers=0.1), huber, ("auto", "robust")),
        (sizes(30, outliers=0.1), squares, default),
        (scattered(20), huber, ("auto", "robust")),
        (scattered(60), huber, default),
        (grid(8, 5), huber, default),
        (checkpoints(24, 5), huber, ("auto", "robust")),
    ]
    return rows if everything else [(*row[:2], default) for row in rows]


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
    return lambda p: closed_form(form, p, flops)[0]


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
