"""How well laws of N and D, and their average, predict the largest sizes of published runs.

    python benchmarks/extrapolation.py REFERENCE [--shares 0.33 0.17] [--laws A,B] [--json FILE]

REFERENCE holds gemstones/, chinchilla_epoch/, datablations/ and porian/ as CSV. Of each data set
the largest sizes (a third and a sixth) are put aside, `laws.compare` sees the rest alone, and what
it says is scored on those put aside: relative error, log density, and the share of nominal 95%
intervals of one new run that hold the observed loss.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.laws.judgement.select import compare

KEYS = ("log_density", "coverage", "rms_error_relative")


def main() -> None:
    """Print a row for each split and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[1 / 3, 1 / 6])
    parser.add_argument("--laws", default="chinchilla,kaplan")
    parser.add_argument("--only", default="", help="data sets whose name contains this")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name, runs in datasets(args.reference):
        for share in args.shares if args.only in name else ():
            start = time.time()
            for law, found in score(runs, share, args.laws.split(",")).items():
                rows.append({"data": name, "share": share, "law": law, **found})
                numbers = "  ".join(f"{key} {found[key]:.3f}" for key in KEYS)
                print(f"{name:44} {share:.2f} {law:26} {numbers}", flush=True)
            print(f"{name:44} {share:.2f} took {time.time() - start:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    print(f"means over {table.groupby('law').size().max()} splits")
    print(table.groupby("law")[list(KEYS)].mean().round(3).to_string())
    if args.json:
        write_json(args.json, rows)


def score(runs: pd.DataFrame, share: float, laws: list[str]) -> dict[str, dict[str, float]]:
    """Scores on the largest sizes, that share of all, of laws fitted to the others."""
    sizes = np.unique(runs["N"])
    largest = runs["N"] >= sizes[-max(1, round(len(sizes) * share))]
    try:
        found = compare(runs[~largest], laws)
    except UserError as error:
        print(f"left out: {error}")
        return {}
    future = runs[largest]
    scores = found.score(future, future["loss_nats"])
    return {
        name: {**one, "coverage": one["inside"] / one["left_out"]} for name, one in scores.items()
    }


def datasets(root: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and table (N, D, loss_nats, and run_name where rows are checkpoints) of each."""
    for name in ("hot", "cool_end", "cool_begin"):
        raw = pd.read_csv(root / "gemstones" / f"{name}.csv")
        yield (
            f"gemstones {name}",
            pd.DataFrame(
                {
                    "N": raw["params_active_precise"].astype(float),
                    "D": raw["tokens"].astype(float),
                    "loss_nats": raw["final_loss"],
                    "run_name": raw["run_name"],
                }
            ),
        )
    raw = pd.read_csv(root / "chinchilla_epoch" / "svg_extracted_data.csv")
    rows = pd.DataFrame({"N": raw["Model Size"], "loss_nats": raw["loss"]})
    rows["D"] = raw["Training FLOP"] / 6 / rows["N"]
    # Without the five runs of highest loss, as Besiroglu et al. 2024 (arXiv:2404.10102) fit them.
    yield "chinchilla", rows[rows["loss_nats"] < rows["loss_nats"].nlargest(5).iloc[-1]]
    raw = pd.read_csv(root / "datablations" / "runs.csv")
    once = raw[(raw["dedup"] == 0) & (raw["D_total"] <= 1.01 * raw["D_unique"])]
    yield (
        "datablations, one epoch",
        once[["N"]].assign(D=once["D_total"], loss_nats=once["val_loss"]),
    )
    raw = pd.read_csv(root / "porian" / "isoflop_points.csv")
    for name, part in raw.groupby("config"):
        yield f"porian {name}", part[["N", "D"]].assign(loss_nats=part["loss"])


if __name__ == "__main__":
    main()
