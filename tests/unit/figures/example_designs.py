"""Small studies of each design, with losses of known laws, fitted by the product itself.

Sizes, tokens and losses are those of models that a laptop trains: N from 1e4 to 1e6.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from scalelab.laws import read_runs
from scalelab.laws.study import fit_study

E, A, ALPHA, B, BETA = 1.7, 26.0, 0.28, 90.0, 0.33
NOISE = 0.002
SIZES = (1.1e4, 2.4e4, 5.3e4, 1.2e5, 2.6e5, 5.6e5, 1.2e6)
R_D, R_N = 6.0, 5.0


def law(n, d):
    """Loss in nats per token of Chinchilla's law."""
    return E + A * n**-ALPHA + B * d**-BETA


def best_size(flops):
    """N of least loss for C = 6 N D: Hoffmann et al. 2022, equation 4."""
    return (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** (BETA / (ALPHA + BETA))


def row(number, n, d, loss, **more) -> dict:
    """One row of runs.csv; rates, shapes and costs are plausible and the same for all."""
    flops = 6.6 * n * d
    return {
        "id": f"{number:012x}", "label": f"r{number}", "family": "gpt2", "depth": 3,
        "width": int(np.sqrt(n / 36)), "heads": 2, "context": 128, "vocab": 512, "N": int(n),
        "N_total": int(n) + 20_000, "N_embedding": 20_000, "D": int(d), "C": flops,
        "C_6ND": 6 * n * d, "tokens_per_param": d / n, "budget": "", "unique_tokens": int(d),
        "lr": 0.003, "batch_tokens": 1024, "steps": int(d) // 1024, "schedule": "wsd", "seed": 1,
        "loss_nats": loss, "loss_nats_se": 0.004, "perplexity": np.exp(loss),
        "bits_per_byte": loss / 2.1, "train_loss_nats": loss - 0.02, "tokens_per_second": 2e5,
        "seconds": flops / 5e10, "flops_per_second": 5e10, "mfu": 0.4,
        "peak_memory_bytes": 3e8 + 40 * n, "checkpoint_bytes": 4 * n, "threads": 1,
        "precision": "bf16", "processes": 1, "device": "cpu", "resumed": 0, "trunk": "",
        "trunk_steps": 0, "status": "ok", "reason": "", "corpus": "c0ffee123456",
        **more,
    }  # fmt: skip


def isoflop_rows(noise, shift=1.0):
    """Five budgets, the nearest seven sizes of a ladder to the optimum of each."""
    ladder = np.geomspace(4e3, 4e6, 24)
    for flops in np.geomspace(3e11, 3e13, 5):
        centre = best_size(flops) * shift
        near = sorted(ladder, key=lambda n: abs(np.log(n / centre)))[:7]
        for n in sorted(near):
            d = flops / 6 / n
            yield n, d, law(n, d) * noise(), {"budget": flops, "C": flops}


def off_centre_rows(noise):
    """The same with sizes that are all too small."""
    return isoflop_rows(noise, shift=0.1)


def sweep_rows(noise):
    """Learning rate crossed with batch; the largest rate diverges on the largest model."""
    for n in SIZES[::2]:
        best_lr, best_batch = 6e-3 * (n / 1e5) ** -0.3, 1500 * (n / 1e5) ** 0.15
        for lr in 1e-3 * 2.0 ** np.arange(6):
            for batch in (512, 1024, 2048, 4096):
                for seed in (1, 2):
                    far = 0.012 * np.log(lr / best_lr) ** 2 * (1.5 if lr > best_lr else 1)
                    far += 0.008 * np.log(batch / best_batch) ** 2
                    loss = law(n, 4e6) * np.exp(far) * noise()
                    more = {"lr": lr, "batch_tokens": batch, "seed": seed}
                    if lr > 0.03 and n > 1e6:
                        more |= {"status": "diverged", "reason": "loss not finite at step 9"}
                    yield n, 4e6, loss, more


def lone_rows(noise):
    """A rate sweep of one size."""
    for lr in 1e-3 * 2.0 ** np.arange(5):
        yield 5e4, 1e6, law(5e4, 1e6) * np.exp(0.01 * np.log(lr / 5e-3) ** 2) * noise(), {"lr": lr}


def shape_rows(noise):
    """Depth against width at two sizes, which the nearest width meets to some percent."""
    for n in (1.2e5, 6e5):
        for place, depth in enumerate((1, 2, 3, 4, 6, 8, 12)):
            size = n * (1 + 0.02 * (-1) ** place)
            far = 0.01 * np.log(depth / (3 * (n / 1.2e5) ** 0.2)) ** 2
            yield size, 20 * n, law(n, 20 * n) * np.exp(far) * noise(), {"depth": depth}


def vocab_rows(noise):
    """Vocabulary at fixed N, in bits per byte."""
    for n in (5e4, 2e5, 8e5):
        for vocab in (256, 512, 1024, 2048, 4096, 8192):
            best = 900 * (n / 1e5) ** 0.35
            loss = law(n, 4e6) / 2.4 * np.exp(0.02 * np.log(vocab / best) ** 2) * noise()
            more = {"vocab": vocab, "bits_per_byte": loss, "corpus": f"c{vocab:011d}"}
            yield n, 4e6, law(n, 4e6) * (1 + 0.1 * np.log(vocab / 512)), more


def grid_rows(noise):
    """N times D."""
    for n in SIZES[::2]:
        for d in np.geomspace(3e5, 2e7, 6):
            yield n, d, law(n, d) * noise(), {}


def overtrain_rows(noise):
    """Tokens per parameter from 5 to 640, of a law with one exponent (Gadre et al. 2024)."""
    for n in SIZES[:5]:
        for ratio in (5, 20, 80, 320, 640):
            d = n * ratio
            yield n, d, (E + 40 * n**-0.3 + 60 * d**-0.3) * noise(), {}


def repeats_rows(noise):
    """Unique tokens times epochs (Muennighoff et al. 2023)."""
    ratio = ALPHA * A / (BETA * B)
    g = ratio ** (1 / (ALPHA + BETA))
    for n in (3e4, 1.2e5, 5e5):
        for unique in (3e5, 1e6, 3e6):
            for epochs in (1, 2, 4, 8, 16, 32):
                useful = unique * (1 + R_D * (1 - np.exp(-(epochs - 1) / R_D)))
                base = min(n, g * (g * unique) ** (BETA / ALPHA))
                size = base * (1 + R_N * (1 - np.exp(-(n / base - 1) / R_N)))
                loss = law(size, useful) * noise()
                yield n, unique * epochs, loss, {"unique_tokens": int(unique)}


def sets_rows(noise):
    """Losses on two further texts, one of which is harder and falls more slowly."""
    for n in SIZES:
        for seed in (1, 2):
            near, far = law(n, 4e6) * 1.02 * noise(), (2.4 + 12 * n**-0.2) * noise()
            more = {"near:loss_nats": near, "far:loss_nats": far, "seed": seed}
            more |= {"near:bits_per_byte": near / 2.1, "far:bits_per_byte": far / 1.9}
            yield n, 4e6, law(n, 4e6) * noise(), more


def families_rows(noise):
    """Three families whose laws differ in offset, one of them in its exponent and sparse."""
    for family, above, exponent, active in (
        ("gpt2", 1.0, ALPHA, 1.0),
        ("llama", 0.93, ALPHA, 1.0),
        ("moe", 0.88, ALPHA + 0.02, 0.4),
    ):
        for n in SIZES:
            middle = A * 1e5**-ALPHA
            loss = (E + 0.6 + above * middle * (n / 1e5) ** -exponent) * noise()
            more = {"family": family, "N_active": int(n), "bits_per_byte": loss / 2.1}
            yield n / active, 4e6, loss, more


UNITS = {"docstrings": "bits per byte", "images": "bits per pixel", "series": "bits per sample"}


def modalities_rows(noise):
    """Three kinds of sequence, each with a floor, an offset and an exponent of its own."""
    for source, floor, above, exponent in (
        ("docstrings", 1.0, 2.0, ALPHA),
        ("images", 0.6, 0.3, ALPHA + 0.1),
        ("series", 1.2, 0.8, ALPHA + 0.2),
    ):
        for n in SIZES:
            bits = (floor + above * (n / 1e5) ** -exponent) * noise()
            yield n, 4e6, bits * 0.7, {"source": source, "bits_per_byte": bits}


def measures_rows(noise):
    """Seven quantities: a copying that sets in late, and others that rise, fall or stay."""
    for n in SIZES:
        for seed in (1, 2):
            x = np.log10(n / 1e4)
            values = {
                "induction/score": 0.9 / (1 + np.exp(6 - 4 * x)),
                "induction/gain_nats": 0.1 + 1.4 / (1 + np.exp(6 - 4 * x)),
                "induction/copied_in_a_row": 0.2 * max(0.0, x - 1.5),
                "calibration/ece": 0.02 * noise(),
                "calibration/overconfidence": 0.004 * (seed - 1.5),
                "in_context/gain_nats": 0.1 * x * noise(),
                "logit_lens/decision_depth": 0.75 - 0.06 * x,
            }
            errors = {f"{name}_se": 0.004 for name in values}
            yield n, 4e6, law(n, 4e6) * noise(), {**values, **errors, "seed": seed}


def compression_rows(noise):
    """Damage as N^-0.3 (D/N)^0.6, more of it with fewer bits; one run without any that shows."""
    for n in SIZES:
        for ratio in (10, 40, 160):
            values = {"quantised/loss_nats": law(n, n * ratio), "quantised/fp32_bytes": 4 * n}
            for bits, worst in ((8, 1e-4), (4, 0.01), (3, 0.05)):
                damage = worst * (n / 1e4) ** -0.3 * (ratio / 10) ** 0.6 * noise()
                values[f"quantised/int{bits}_excess_nats"] = damage
                values[f"quantised/int{bits}_excess_nats_se"] = 1.2e-4
                values[f"quantised/int{bits}_bytes"] = bits * n / 8 + n / 20
            yield n, n * ratio, law(n, n * ratio) * noise(), values


def speed_rows(noise):
    """Seven forms of each size, written alone and 64 at once; what is quicker has more loss."""
    forms = {"fp32": 1.0, "bf16": 1.3, "fp16": 0.4, "int8": 1.2}
    forms |= {"channels12": 1.05, "channels25": 1.1, "channels50": 1.2}
    for n in SIZES:
        values = {"speed/loss_nats": law(n, 4e6)}
        values |= {f"speed/yardstick_{texts}_tokens_per_second": 900.0 for texts in (1, 64)}
        for place, (form, quick) in enumerate(forms.items()):
            if place:
                values[f"speed/{form}_excess_nats"] = 1e-3 * 4**place * (n / 1e4) ** -0.2 * noise()
                values[f"speed/{form}_excess_nats_se"] = 1e-4
            for texts in (1, 64):
                rate = texts * 1.5e3 * (1 if texts == 1 else quick * (n / 1e4) ** -0.3) * noise()
                values[f"speed/{form}_{texts}_tokens_per_second"] = rate
                values[f"speed/{form}_{texts}_tokens_per_second_se"] = 0.01 * rate
        yield n, 4e6, law(n, 4e6) * noise(), values


def tasks_rows(noise):
    """A task of four choices by the law, one that no model can do, and one of unknown chance."""
    for n in SIZES:
        loss = law(n, 4e6) * noise()
        gained = 0.25 + 1.2 * np.exp(-0.8 * loss)
        yield (
            *(n, 4e6, loss),
            {
                "tasks/choice_accuracy": gained,
                "tasks/choice_accuracy_se": 0.015,
                "tasks/choice_chance": 0.25,
                "tasks/choice_margin_nats": 2 - loss,
                "tasks/choice_margin_nats_se": 0.1,
                "tasks/cloze_accuracy": 0.0,
                "tasks/cloze_accuracy_se": 0.0,
                "tasks/cloze_chance": 0.0,
                "tasks/cloze_nats": 1.2 * loss,
                "tasks/cloze_nats_se": 0.04,
                "tasks/odd_accuracy": gained * noise(),
            },
        )


def transfer_rows(noise):
    """Runs from random weights, and runs that start with 40 D_F^0.2 N^0.7 tokens seen already."""
    for n in SIZES[:5]:
        for seed in (1, 2):
            for d in np.geomspace(2e4, 4e6, 7):
                yield n, d, law(n, d) * noise(), {"init": "none", "seed": seed}
            for d in (2e4, 6e4, 2e5):
                seen = d + 40 * d**0.2 * n**0.7
                yield n, d, law(n, seen) * noise(), {"init": "before", "seed": seed}


CHINCHILLA = {"law": "chinchilla", "intervals": "profile"}
DESIGNS = {
    "isoflop": (isoflop_rows, [CHINCHILLA], [{"answer": "frontier"}]),
    "off centre": (off_centre_rows, [CHINCHILLA], [{"answer": "frontier"}]),
    "sweep": (
        sweep_rows,
        [],
        [{"answer": "optimum", "axis": "lr"}, {"answer": "optimum", "axis": "batch_tokens"}],
    ),
    "lone sweep": (lone_rows, [], [{"answer": "optimum", "axis": "lr"}]),
    "shape": (shape_rows, [], [{"answer": "optimum", "axis": "depth"}]),
    "vocab": (vocab_rows, [], [{"answer": "optimum", "axis": "vocab", "y": "bits_per_byte"}]),
    "grid": (grid_rows, [CHINCHILLA], [{"answer": "frontier"}]),
    "overtrain": (
        overtrain_rows,
        [{**CHINCHILLA, "tied": [["alpha", "beta"]]}],
        [{"answer": "frontier"}],
    ),
    "sets": (
        sets_rows,
        [
            {"law": "power_offset", "intervals": "profile"},
            {"law": "power_offset", "intervals": "profile", "set": "far"},
        ],
        [],
    ),
    "families": (families_rows, [], [{"answer": "by_axis", "axis": "family"}]),
    "modalities": (
        modalities_rows,
        [],
        [{"answer": "modalities", "axis": "source", "units": UNITS}],
    ),
    "measures": (measures_rows, [{"law": "power_offset"}], [{"answer": "trend"}]),
    "compression": (
        compression_rows,
        [{"law": "power_offset"}],
        [{"answer": "compression"}],
    ),
    "speed": (speed_rows, [{"law": "power_offset"}], [{"answer": "compression"}]),
    "tasks": (tasks_rows, [{"law": "power_offset", "x": "N"}], [{"answer": "downstream"}]),
    "transfer": (transfer_rows, [], [{"answer": "transfer"}]),
    "repeats": (repeats_rows, [{"law": "data_constrained", "intervals": "profile"}], []),
}


def write_design(root: Path, name: str) -> Path:
    """Write results/<name> with runs.csv and laws.json under `root`; give back that folder."""
    make, fits, answers = DESIGNS[name]
    generator = np.random.default_rng(11)
    rows = make(lambda: float(np.exp(NOISE * generator.standard_normal())))
    table = [row(place, n, d, loss, **more) for place, (n, d, loss, more) in enumerate(rows)]
    for item in table:
        if item["status"] != "ok":
            item |= dict.fromkeys(
                ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte", "train_loss_nats"), ""
            )
    study = root / "results" / name.replace(" ", "-")
    study.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv(study / "runs.csv", index=False)
    for item in table:  # a curve of two points, for the kinds that draw curves
        folder = root / "results" / "runs" / item["id"]
        folder.mkdir(parents=True, exist_ok=True)
        points = [
            {"step": s, "tokens": item["D"] * s / 9, "flops": item["C"] * s / 9, "loss_nats": v}
            for s, v in ((1, 6.0), (4, 4.5), (9, float(item["loss_nats"] or 9.0)))
        ]
        text = "".join(json.dumps(point) + "\n" for point in points)
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    laws = fit_study(read_runs(study / "runs.csv"), fits, name, answers)
    (study / "laws.json").write_text(json.dumps(laws, allow_nan=False), encoding="utf-8")
    return study
