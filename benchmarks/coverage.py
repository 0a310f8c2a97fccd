"""How often the 95% intervals of a fit hold the truth: a simulation that prints a table.

    python benchmarks/coverage.py [--all] [--replicates 400] [--seed 0] [--json FILE]

Truth L = 1.8 + 60 N^-0.25, sizes log-spaced over two decades, log-normal noise of 0.3% on each
run unless the table says otherwise. Every replicate is fitted from scratch with `scalelab.laws`,
whatever comes out; a fit that is refused counts as not covering. The standard error of a coverage
of 95% is 1.1 points at 400 replicates. `moved`: clean data sets in which leaving out one size
moves alpha by more than its standard error; `outlying`: in which the checklist's test calls a
size an outlier. Both are false alarms.
"""

import argparse
import json
import sys
import time

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.bootstrap import bootstrap_estimate
from scalelab.laws.checklist import leave_one_out, outlier_p
from scalelab.laws.estimate import Estimate, estimate
from scalelab.laws.profile import Target, covariance, profile, quantile, standard_error

TRUTH = {"E": 1.8, "A": 60.0, "alpha": 0.25}
NOISE = 0.003
DESIGNS = (
    (8, 1, NOISE, "least_squares", "profile"),
    (8, 1, NOISE, "least_squares", "delta"),
    (8, 1, NOISE, "least_squares", "bootstrap"),
    (8, 1, 0.01, "least_squares", "profile"),
    (8, 1, 0.01, "least_squares", "delta"),
    (8, 2, NOISE, "least_squares", "profile"),
    (6, 1, NOISE, "least_squares", "profile"),
    (24, 1, NOISE, "least_squares", "profile"),
    (24, 1, NOISE, "least_squares", "bootstrap"),
    (8, 1, NOISE, "huber", "profile"),
)
QUANTITIES = ("E", "A", "alpha", "L inside", "L at 10x", "run at 10x")


def main() -> None:
    """Print the coverage of each design, in percent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--all", action="store_true", help="more designs, about five minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the table to this file too")
    args = parser.parse_args()
    rows = []
    for design in DESIGNS if args.all else DESIGNS[:3]:
        rows.append(measure(*design, args.replicates, args.seed))
        print_row(rows[-1], header=len(rows) == 1)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as handle:
            json.dump(rows, handle, indent=1)


def measure(
    sizes: int,
    seeds: int,
    spread: float,
    objective: str,
    method: str,
    replicates: int,
    seed: int,
) -> dict[str, object]:
    """Coverage of each quantity over the replicates of one design."""
    form = registry.get("power_offset")
    generator = np.random.default_rng([seed, sizes, seeds])
    x = np.geomspace(1e4, 1e6, sizes)[:, None]
    where = np.array([[1e5], [1e7]])
    truth = np.log(form.value(form.theta(TRUTH)[None], np.log(x))[0])
    aims = np.log(form.value(form.theta(TRUTH)[None], np.log(where))[0])
    hits, alarms, strict, began = [], 0, 0, time.process_time()
    for _ in range(replicates):
        # The smaller two thirds of the sizes have `seeds` runs each, the rest one.
        counts = np.where(np.arange(sizes) < sizes * 2 // 3, seeds, 1)
        noise = generator.normal(0, spread, (sizes, seeds))
        noise = np.array([row[:n].mean() for row, n in zip(noise, counts, strict=True)])
        run = aims[1] + generator.normal(0, spread)
        try:
            best = estimate(form, x, truth + noise, objective)
            hits.append(covered(best, method, where, aims, run))
        except UserError:
            hits.append([False] * len(QUANTITIES))
            continue
        table = leave_one_out(best)
        shifts = np.array([abs(row["shifts"]["alpha"]) for row in table])
        alarms += bool((shifts > 1).any())
        strict += bool((outlier_p(best, table) < 0.05 / sizes).any())
    return {
        "sizes": sizes,
        "seeds": seeds,
        "noise": spread,
        "objective": objective,
        "method": method,
        "replicates": replicates,
        "coverage": dict(zip(QUANTITIES, np.mean(hits, 0).tolist(), strict=True)),
        "moved_by_one_error": alarms / replicates,
        "moved_and_outlying": strict / replicates,
        "seconds": time.process_time() - began,
    }


def covered(best: Estimate, method: str, where: np.ndarray, aims: np.ndarray, run: float) -> list:
    """Whether each quantity's interval holds the truth, in the order of `QUANTITIES`."""
    drawn = bootstrap_estimate(best, 300) if method == "bootstrap" else None
    u = best.centred(where)
    t = quantile(0.95, best.dof)
    if method == "delta":
        ends, curve = delta_intervals(best, u, t)
    elif drawn is not None and drawn.usable:
        ends, curve = drawn.intervals(0.95) or {}, drawn.log_loss(u, 0.95)
    else:
        ends, curve = profile_intervals(best, u)
    inside = [ends[name][0] <= value <= ends[name][1] for name, value in TRUTH.items()]
    inside += [bool(pair[0] <= aim <= pair[1]) for pair, aim in zip(curve, aims, strict=True)]
    centre = best.log_loss(u)[1]
    down, up = np.hypot(np.abs(curve[1] - centre), t * best.sigma)
    inside.append(bool(centre - down <= run <= centre + up))
    return inside


def profile_intervals(best: Estimate, u: np.ndarray) -> tuple[dict, np.ndarray]:
    """What `laws.fit` gives below 20 sizes: parameters, and the mean curve on the log scale."""
    names = best.form.parameters
    functionals = [best.form.functional(n, best.centre, best.log_scale) for n in names]
    targets = [Target(functional=f) for f in functionals] + [Target(u=row) for row in u]
    ends = profile(best, targets, 0.95)
    pairs = zip(names, functionals, ends, strict=False)
    return {n: np.exp(e) if f.exponentiate else e for n, f, e in pairs}, (
        ends[len(names) :] + best.log_scale
    )


def delta_intervals(best: Estimate, u: np.ndarray, t: float) -> tuple[dict, np.ndarray]:
    """The usual alternative: estimate plus or minus t standard errors."""
    ends = {}
    for name, value in best.params.items():
        error = standard_error(best, best.form.functional(name, best.centre, best.log_scale))
        ends[name] = (value - t * error, value + t * error)
    loss, slopes = best.form.gradient(best.theta[None], u)
    slopes = slopes[0] / loss[0][:, None]
    error = np.sqrt(np.einsum("np,pq,nq->n", slopes, covariance(best), slopes))
    centre = best.log_loss(u)
    return ends, np.column_stack([centre - t * error, centre + t * error])


def print_row(row: dict, header: bool) -> None:
    """One line of a Markdown table."""
    if header:
        names = [
            "sizes",
            "seeds",
            "noise",
            "objective",
            "method",
            *QUANTITIES,
            "moved",
            "outlying",
            "CPU s",
        ]
        print("| " + " | ".join(names) + " |")
        print("|" + "---|" * len(names))
    cells = [row["sizes"], row["seeds"], f"{row['noise']:.1%}", row["objective"], row["method"]]
    cells += [f"{100 * v:.1f}" for v in row["coverage"].values()]
    cells += [f"{100 * row[key]:.0f}" for key in ("moved_by_one_error", "moved_and_outlying")]
    cells.append(f"{row['seconds']:.0f}")
    print("| " + " | ".join(str(cell) for cell in cells) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
