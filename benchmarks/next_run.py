"""Whether `scalelab next` narrows intervals more than what is done by habit, with the same FLOPs.

    python benchmarks/next_run.py [--studies 16] [--runs 1] [--times 4]

Studies of eight small runs are simulated from published laws. Each strategy spends the same budget,
`times` the FLOPs of the largest run so far: ours; the next larger size at the same D/N; random runs
that spend a third of the budget or more; seeds of the largest run. The losses of the new runs come
from the true law, the fit is made again, and its interval and its error are compared. Printed are
geometric means of the ratio of half-widths, ours over theirs, with a 95% interval over studies, the
share of studies where ours is narrower, and the ratio of the root-mean-square true errors.
"""

import argparse
import itertools

import numpy as np
import pandas as pd
from scipy import stats

from scalelab.advise import prior
from scalelab.advise.candidates import grid
from scalelab.advise.check import after
from scalelab.advise.criterion import criterion
from scalelab.advise.next import choose_from, next_larger
from scalelab.advise.prior import estimate_at
from scalelab.advise.state import state

NOISE = 0.003
SIZES = np.geomspace(1e6, 3e7, 8)
STARTS = {
    "scattered D/N": np.column_stack([SIZES, SIZES * np.resize([5.0, 20.0, 80.0], 8)]),
    "4 sizes x 2 D/N": np.array([[n, n * r] for n in SIZES[[0, 2, 5, 7]] for r in (10.0, 40.0)]),
}
QUANTITIES = ("alpha", "E", "a", "loss@N=1e9,D=2e10", "N_opt@C=1e20")
PLAIN = ("next larger", "random", "seeds of largest")


def study(
    law: str, start: str, quantity: str, number: int, args: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Half-width and error of the quantity after each strategy, for one simulated study."""
    truth = prior(law)
    generator = np.random.default_rng([number, 17])
    x = STARTS[start]
    table = pd.DataFrame(x, columns=["N", "D"])
    table["loss_nats"] = np.exp(truth.log_loss(x) + generator.normal(0, NOISE, len(x)))
    now = state(table, truth.law, quantity, seed=number)
    budget = args.times * 6 * float(x.prod(1).max())
    pool = grid(now.points, budget)
    choice = choose_from(now, pool, budget, args.runs, seed=number)
    judge = criterion(now, pool.x)
    largest = int(np.argmax(np.where(judge.same >= 0, pool.flops, 0)))
    sets = {
        "ours": choice.chosen,
        "next larger": next_larger(pool, budget),
        "random": choice.random_sets[number % len(choice.random_sets)],
        "seeds of largest": (largest,) * int(budget / pool.flops[largest]),
    }
    value = now.asked.value(estimate_at(truth, x))
    noise = generator.normal(0, NOISE, max(len(one) for one in sets.values()))
    found = {}
    for name, chosen in sets.items():
        losses = truth.log_loss(pool.x[list(chosen)]) + noise[: len(chosen)]
        sure = after(now, judge, chosen, losses)
        own = sure.ends([now.asked.target(sure.best)], now.level)[0]
        half = float(now.asked.half_width(now.asked.natural(sure.best, own)))
        told = now.asked.value(sure.best)
        found[name] = (half, float(np.log(told / value)) if now.asked.factor else told - value)
    return found


def compare(rows: list[dict[str, tuple[float, float]]], other: str) -> str:
    """Ratio of half-widths with its interval, share narrower, ratio of errors; for one table cell.

    A strategy that leaves an interval open is counted, and left out of the mean ratio.
    """
    pairs = np.array([[row["ours"][0], row[other][0]] for row in rows])
    both = np.isfinite(pairs).all(1)
    logs = np.log(pairs[both, 0] / pairs[both, 1])
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    low, high = np.exp([logs.mean() - half, logs.mean() + half])
    errors = np.array([[row["ours"][1], row[other][1]] for row in rows])
    ours, theirs = np.sqrt((errors**2).mean(0))
    lost = (
        "" if both.all() else f", open {np.isinf(pairs[:, 0]).sum()}/{np.isinf(pairs[:, 1]).sum()}"
    )
    return (
        f"{np.exp(logs.mean()):.2f} [{low:.2f}, {high:.2f}], "
        f"{(pairs[:, 0] < pairs[:, 1]).mean():.0%}, {ours / theirs:.2f}{lost}"
    )


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=16)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--laws", nargs="+", default=["besiroglu2024", "hoffmann2022"])
    parser.add_argument("--starts", nargs="+", default=list(STARTS))
    parser.add_argument("--quantities", nargs="+", default=QUANTITIES)
    args = parser.parse_args()
    print("| start | law | quantity | " + " | ".join(PLAIN) + " |")
    print("| --- " * (3 + len(PLAIN)) + "|")
    for start, law, quantity in itertools.product(args.starts, args.laws, args.quantities):
        rows = [study(law, start, quantity, number, args) for number in range(args.studies)]
        cells = " | ".join(compare(rows, other) for other in PLAIN)
        print(f"| {start} | {law} | {quantity} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
