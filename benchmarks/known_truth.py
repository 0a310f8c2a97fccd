"""Whether a design identifies the floor E and the exponent, before anything is trained.

    python benchmarks/known_truth.py [STUDY] [--noise 0.0002] [--replicates 200] [--json FILE]

STUDY is config/known-truth.yaml or another study of the source `synthetic` whose runs differ in D.
The losses at its D are those of a learner of `scalelab.corpus.facts.ideal_excess`, plus the entropy
rate: the Bayesian one, and ones that need 10, 30 or 100 views where it needs one. Log-normal noise
is added, the spread of seeds that was measured, and `power_offset` is fitted as in the study.

`bias`: of E, fitted to losses without noise, in percent of the truth: what the law itself misses,
since the keys are finite in number. `E in` and `alpha in`: how often the 95% interval holds the
truth, percent. `E width`: median width of the interval of E over E, percent. `alpha`: median of
the fitted exponents; `theory` is a / (1 + a).
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from scalelab import config, laws
from scalelab.corpus.facts import ideal_excess, truth
from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.plan.runs import build

STUDY = Path(__file__).parents[1] / "config" / "known-truth.yaml"
EXPOSURES = (1, 10, 30, 100)


def main() -> None:
    """Print a row for each number of exposures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default=STUDY, type=Path)
    parser.add_argument("--noise", type=float, default=0.0002, help="relative, of one run")
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    study = config.load(args.study)
    if study.corpus.synthetic is None:
        raise UserError(f"{args.study}: expected the source synthetic, found no truth to recover")
    made = asdict(study.corpus.synthetic)
    tokens = np.array(sorted(run.tokens for run in build(study).runs), dtype=float)
    known = truth(made)
    print(f"E = {known.entropy_nats:.5f} nats/token, theory {known.exponent_tokens:.3f}")
    print(f"D = {', '.join(f'{count:,.0f}' for count in tokens)}")
    rows = []
    for exposures in EXPOSURES:
        losses = known.entropy_nats + ideal_excess(made, tokens, exposures)
        row = {"exposures": exposures, "excess": (losses[[0, -1]] - known.entropy_nats).tolist()}
        row |= recovered(tokens, losses, known.entropy_nats, known.exponent_tokens, args)
        rows.append(row)
        print("  ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)
    if args.json:
        write_json(args.json, rows)


def recovered(
    tokens: np.ndarray, losses: np.ndarray, floor: float, exponent: float, args: argparse.Namespace
) -> dict[str, float]:
    """How often the intervals of fits to noisy losses hold the truth, and how wide they are."""
    generator = np.random.default_rng(0)
    try:
        bias = 100 * (fit(tokens, losses).params["E"] / floor - 1)
    except (
        UserError
    ):  # on a curve without noise the minimum is too flat for the test of convergence
        bias = float("nan")
    inside, widths, exponents = [], [], []
    for _ in range(args.replicates):
        noise = np.exp(generator.normal(0, args.noise, len(tokens)))
        try:
            found = fit(tokens, losses * noise)
        except UserError:
            inside.append((False, False))
            continue
        low, high = ends(found, "E")
        inside.append((low <= floor <= high, holds(ends(found, "alpha"), exponent)))
        widths.append((high - low) / floor)
        exponents.append(found.params["alpha"])
    both = 100 * np.mean(inside, 0)
    return {
        "bias": bias,
        "E in": both[0],
        "E width": 100 * float(np.median(widths)),
        "alpha in": both[1],
        "alpha": float(np.median(exponents)),
    }


def fit(tokens: np.ndarray, losses: np.ndarray) -> laws.FitResult:
    """The study's law."""
    return laws.fit("power_offset", pd.DataFrame({"D": tokens, "loss_nats": losses}), x=["D"])


def ends(found: laws.FitResult, name: str) -> tuple[float, float]:
    """Ends of an interval, an open one at 0 or infinity."""
    low, high = found.intervals[name]
    return 0.0 if low is None else low, np.inf if high is None else high


def holds(pair: tuple[float, float], value: float) -> bool:
    """Whether the interval holds the value."""
    return pair[0] <= value <= pair[1]


def shown(value: float | Sequence[float]) -> str:
    """A number, or two."""
    if isinstance(value, Sequence):
        return "-".join(f"{part:.4f}" for part in value)
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
