"""A study with a known law, written to disk in the layout of the workflow.

Losses follow E + A N^-alpha with 0.3% noise; the fit is an ordinary least squares on log loss with
Wald intervals, good enough to draw. Options give the edge cases.
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import stdtrit

from scalelab.laws.growth import growth

E, A, ALPHA = 1.6, 19.0, 0.23
COLUMNS = """id label family depth width heads context vocab N N_total N_embedding D C C_6ND
tokens_per_param lr batch_tokens steps schedule seed loss_nats loss_nats_se perplexity bits_per_byte
train_loss_nats tokens_per_second seconds flops_per_second mfu
peak_memory_bytes checkpoint_bytes threads precision processes device resumed status reason corpus
checkpoint"""
SIZES = tuple(np.geomspace(1e4, 1e6, 8))


def write_study(
    root: Path,
    sizes=SIZES,
    two_seeds=3,
    failed=(),
    noise=0.003,
    law="power_offset",
    floor=E,
    extrapolate=True,
    conventions=("N",),
    outlier=None,
    labels=None,
    lines=120,
    threads=None,
    name="example",
) -> Path:
    """Write results/<name> and results/runs under `root`; give back the study's folder.

    `threads`: {index of a size: threads} of the sizes that do not train with one.
    """
    generator = np.random.default_rng(7)
    rows = []
    for index, size in enumerate(sizes):
        for seed in range(2 if index < two_seeds else 1):
            row = make_row(index, round(size), seed, generator, noise, floor)
            row |= make_cost(row, (threads or {}).get(index, 1), failed=index in failed)
            row["label"] = (labels or {}).get(row["label"], row["label"])
            if index == outlier:
                row["loss_nats"] *= 1.021
            if index in failed:
                row |= {"status": failed[index], "reason": f"loss not finite at step {9 * index}"}
                row |= dict.fromkeys(
                    ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"), ""
                )
            else:
                row["perplexity"] = float(np.exp(row["loss_nats"]))
                row["bits_per_byte"] = row["loss_nats"] / np.log(2) / 2.1
            rows.append(row)
            write_curve(root / "results/runs" / row["id"], row, generator, lines)
    study = root / "results" / name
    study.mkdir(parents=True, exist_ok=True)
    with open(study / "runs.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS.split(), restval="")
        writer.writeheader()
        writer.writerows(rows)
    fits = [make_fit(rows, column, law, extrapolate) for column in conventions]
    laws = {"study": name, "fits": fits, "growth": growth(pd.DataFrame(rows))}
    laws["provenance"] = provenance()
    (study / "laws.json").write_text(json.dumps(laws, indent=1, allow_nan=False), encoding="utf-8")
    return study


def make_row(index, size, seed, generator, noise, floor) -> dict:
    """One row of runs.csv before the derived losses."""
    total, tokens = size + 640 * 32 + 100 * index**2, 20 * size
    loss = (floor + A * size**-ALPHA) * float(np.exp(noise * generator.standard_normal()))
    label = f"d{16 + 8 * index}-s{seed + 1}"
    return {
        "id": hashlib.sha256(f"{size}-{seed}".encode()).hexdigest()[:12],
        "label": label, "family": "gpt", "depth": 2 + index // 3, "width": 16 + 8 * index,
        "heads": 2, "context": 128, "vocab": 512, "N": size, "N_total": total,
        "N_embedding": total - size, "D": tokens, "C": int(6.9 * size * tokens),
        "C_6ND": 6 * size * tokens, "tokens_per_param": 20, "lr": 0.003, "batch_tokens": 1024,
        "steps": max(tokens // 1024, 1), "schedule": "wsd", "seed": seed + 1, "loss_nats": loss,
        "loss_nats_se": 0.004, "train_loss_nats": loss - 0.02,
        "precision": "bf16", "processes": 1, "device": "cpu", "resumed": 0,
        "status": "ok", "reason": "", "corpus": "c0ffee123456",
    }  # fmt: skip


def make_cost(row, threads, failed) -> dict:
    """The costs of a row: 10^11 FLOPs a second a thread at most, less for a small model.

    A failed run ends a third of the way.
    """
    size, peak = row["N"], 1e11 * threads
    share = 0.6 * size / (size + 3e4) * (1 + 0.03 * (row["seed"] - 1))
    speed = share * peak / (row["C"] / row["D"])
    seconds = row["D"] / speed / (3 if failed else 1)
    return {
        "threads": threads, "tokens_per_second": speed, "seconds": seconds, "mfu": share,
        "flops_per_second": share * peak, "peak_memory_bytes": 300_000_000 + 40 * size,
        "checkpoint_bytes": 60_000 + 4 * row["N_total"],
    }  # fmt: skip


def write_curve(folder: Path, row: dict, generator, lines: int) -> None:
    """metrics.jsonl of a run: from ln V down to near its final loss; a failed run blows up."""
    folder.mkdir(parents=True, exist_ok=True)
    final = row["loss_nats"] or 4.0
    text = []
    count = lines if row["status"] == "ok" else lines // 3
    for line in range(1, count + 1):
        share = line / lines
        tokens = int(row["D"] * share)
        end = (1 + row["D"] / 40_000) ** -0.7
        fall = ((1 + tokens / 40_000) ** -0.7 - end) / (1 - end)
        loss = final + (np.log(512) - final) * fall + 0.02 * generator.standard_normal()
        if row["status"] != "ok" and line > count - 6:
            loss *= 2.2 ** (line - count + 6)
        point = {"step": line * 10, "tokens": tokens, "flops": int(row["C"] * share)}
        text.append(json.dumps({**point, "loss_nats": float(loss), "lr": 0.003, "grad_norm": 0.4}))
    (folder / "metrics.jsonl").write_text("\n".join(text) + "\n", encoding="utf-8")


def predict(law: str, values, x):
    """The law's value; `values` are ln A, alpha and, with an offset, E."""
    base = np.exp(values[0] - values[1] * np.log(x))
    return base + values[2] if law == "power_offset" else base


def make_fit(rows, column: str, law: str, extrapolate: bool) -> dict:
    """A FIT block of laws.json for one explaining column."""
    good = [row for row in rows if row["status"] == "ok"]
    x = np.array([row[column] for row in good], float)
    y = np.array([row["loss_nats"] for row in good], float)
    offset = law == "power_offset"
    start = [np.log(19), 0.23, 1.2] if offset else [np.log(19), 0.15]
    bounds = (([-20, 0, 0] if offset else [-20, 0]), np.inf)
    done = least_squares(
        lambda v: np.log(predict(law, v, x)) - np.log(y), start, bounds=bounds, x_scale="jac"
    )
    sizes = sorted(set(x))
    dof = max(len(sizes) - len(start), 1)
    spread = float(np.sqrt(2 * done.cost / dof))
    covariance = np.linalg.pinv(done.jac.T @ done.jac) * spread**2
    t = float(stdtrit(dof, 0.975))
    errors = np.sqrt(np.diag(covariance))
    values = {"A": float(np.exp(done.x[0])), "alpha": float(done.x[1])}
    se = {"A": float(np.exp(done.x[0]) * errors[0]), "alpha": float(errors[1])}
    ends = {
        "A": [float(np.exp(done.x[0] + k * t * errors[0])) for k in (-1, 1)],
        "alpha": [float(done.x[1] + k * t * errors[1]) for k in (-1, 1)],
    }
    if offset:
        bound = done.x[2] < 1e-4
        values = {"E": 0.0 if bound else float(done.x[2]), **values}
        se = {"E": None if bound else float(errors[2]), **se}
        ends = {"E": [0.0, float(max(done.x[2], 0) + t * errors[2])], **ends}
        if not bound:
            ends["E"][0] = float(max(0, done.x[2] - t * errors[2]))

    def row_at(value: float, residual: float = 0.0) -> dict:
        step = 1e-6
        here = predict(law, done.x, value)
        slopes = np.array(
            [(predict(law, done.x + step * unit, value) - here) / step
             for unit in np.eye(len(start))]
        )  # fmt: skip
        width = t * float(np.sqrt(slopes @ covariance @ slopes + (residual * here) ** 2))
        low, high = float(max(here - width, 1e-3)), float(here + width)
        return {"x": float(value), "predicted_nats": float(here), "low": low, "high": high}

    points = []
    for size in sizes:
        members = [row for row in good if row[column] == size]
        losses = [row["loss_nats"] for row in members]
        guess = float(predict(law, done.x, size))
        points.append({
            column: int(size), "loss_nats": float(np.mean(losses)), "predicted_nats": guess,
            "residual_relative": float(np.mean(losses) / guess - 1), "seeds": len(members),
            "seed_sd_nats": float(np.std(losses, ddof=1)) if len(losses) > 1 else None,
            "runs": [row["id"] for row in members],
        })  # fmt: skip
    end = sizes[-1] * (10 if extrapolate else 1)
    names = {"N": "non-embedding parameters", "N_total": "total parameters", "C": "training FLOPs"}
    above = [point for point in points if abs(point["residual_relative"]) > 0.01]
    return {
        "law": law, "formula": "L = E + A N^-alpha" if offset else "L = A N^-alpha", "x": column,
        "convention": names[column], "y": "loss_nats", "params": values, "standard_errors": se,
        "intervals": ends, "interval_level": 0.95, "interval_method": "Wald, Student's t",
        "objective": float(done.cost), "objective_kind": "least squares on log loss",
        "gradient_norm": float(done.optimality), "starts": 1, "fraction_at_best": 1.0,
        "sigma_log": spread, "dof": dof, "r_squared": 0.999, "aicc": -60.0, "points": points,
        "excluded": [
            {"id": row["id"], "label": row["label"], "reason": f"status {row['status']}"}
            for row in rows if row["status"] != "ok"
        ],
        "band": [row_at(value) for value in np.geomspace(sizes[0], end, 60)],
        "extrapolation": [
            {**row_at(sizes[-1] * factor, spread), "factor": factor} for factor in (2, 10)
        ] if extrapolate else [],
        "heldout": {
            "left_out": [int(sizes[-1])], "fitted_on": len(sizes) - 1,
            "predicted_nats": points[-1]["loss_nats"] * 1.004,
            "observed_nats": points[-1]["loss_nats"],
            "low": points[-1]["loss_nats"] * 0.99, "high": points[-1]["loss_nats"] * 1.02,
            "error_relative": 0.004,
        },
        "alternatives": [{"law": "power", "aicc": -48.2, "params": {"A": 12.0, "alpha": 0.12}}],
        "checklist": [
            {"check": "sizes", "ok": len(sizes) >= 5, "message": f"{len(sizes)} sizes"},
            {"check": "residuals", "ok": not above,
             "message": f"{len(above)} sizes with a residual above 1%"},
        ],
        "warnings": ["E is at its bound 0"] if offset and values["E"] == 0 else [],
    }  # fmt: skip


def provenance() -> dict:
    """A provenance block as the workflow stores it."""
    return {
        "scalelab": "0.1.0", "commit": "0123456789ab", "config_hash": "aaaabbbbcccc",
        "data_hash": "ddddeeeeffff", "versions": {"python": "3.11.2", "numpy": "2.3.0"},
        "interpreter": "/usr/bin/python3", "machine": "Linux x86_64",
    }  # fmt: skip


CASES = {
    "usual": {"conventions": ("N", "N_total")},
    "three sizes": {"sizes": (1e4, 1e5, 1e6), "law": "power", "two_seeds": 0},
    "one size diverged": {"failed": {5: "diverged"}},
    "three failed": {"failed": {0: "oom", 5: "diverged", 7: "diverged"}},
    "large models": {"sizes": tuple(np.geomspace(1e7, 1e9, 6)), "two_seeds": 0},
    "no extrapolation": {"extrapolate": False},
    "floor at its bound": {"floor": 0.0, "noise": 0.004},
    "narrow range": {"sizes": tuple(np.geomspace(2e5, 7e5, 5)), "extrapolate": False},
    "vague": {"noise": 0.03, "sizes": tuple(np.geomspace(1e4, 3e5, 5)), "two_seeds": 0},
    "outlier": {"outlier": 4},
    "two thread counts": {"threads": {6: 2, 7: 2}, "failed": {5: "diverged"}},
    "three fits": {"conventions": ("N", "N_total", "C")},
}
