"""The verb `allocate`: optimal size and tokens for FLOPs, or the FLOPs for a loss."""

import argparse
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.laws import published, registry
from scalelab.laws.allocation.allocate import Allocation, allocate
from scalelab.laws.allocation.envelope import Envelope, envelope
from scalelab.laws.allocation.isoflop import WINDOW, IsoFlop, isoflop
from scalelab.laws.command import is_plain
from scalelab.laws.command_predict import (
    Law,
    add_law_arguments,
    naming,
    number,
    read_law,
    read_table,
)
from scalelab.laws.result import unit_of
from scalelab.laws.runs.points import CONVENTIONS
from scalelab.provenance import manifest

APPROACHES = ("parametric", "isoflop", "envelope")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab allocate`."""
    add_law_arguments(parser)
    parser.add_argument(
        "--approach",
        default="parametric",
        help="parametric (a law of N and D), or for a table: isoflop (minima at each budget), "
        "envelope (best run of training curves at each number of FLOPs)",
    )
    parser.add_argument(
        "--flops", action="append", default=[], help="budget such as 1e21; may be repeated"
    )
    parser.add_argument(
        "--loss", action="append", default=[], help="least FLOPs for this loss; may be repeated"
    )
    parser.add_argument("--inference-tokens", help="tokens served later, at 2 N FLOPs each")
    parser.add_argument("--unique-tokens", help="U of a law with repeated data")
    parser.add_argument("--budget", help="isoflop: column of nominal FLOP budgets")
    parser.add_argument("--flops-column", help="isoflop, envelope: column of FLOPs")
    parser.add_argument("--degree", type=int, default=2, help="isoflop: 2 or 3")
    parser.add_argument(
        "--window", type=float, default=WINDOW, help="isoflop: sizes within this ratio of the best"
    )
    parser.add_argument("--run", help="envelope: column that names the run")
    parser.add_argument("--json", help="file to write, full precision")


def run(args: argparse.Namespace) -> int:
    """Allocate, print, write; bad input raises `UserError`, nothing written."""
    if args.approach not in APPROACHES:
        raise UserError(f"--approach {args.approach}: expected one of {', '.join(APPROACHES)}")
    flops = [number(text, f"--flops {text}") for text in args.flops]
    losses = [number(text, f"--loss {text}") for text in args.loss]
    if not flops and not losses:
        raise UserError("nothing to allocate: expected --flops such as 1e21, or --loss")
    tokens = 0.0
    if args.inference_tokens is not None:
        tokens = number(args.inference_tokens, "--inference-tokens")
    if args.approach == "parametric":
        lines, block = _parametric(args, flops, losses, tokens)
    else:
        if losses or tokens:
            raise UserError(
                f"--approach {args.approach} answers --flops alone: --loss and --inference-tokens "
                "need --approach parametric"
            )
        lines, block = _frontier(args, flops)
    print("\n".join(lines))
    if args.json:
        settings = {key: item for key, item in vars(args).items() if is_plain(item)}
        made = manifest({**settings, "flops": flops, "loss": losses})
        write_json(args.json, {**block, "provenance": made})
    return 0


def _parametric(
    args: argparse.Namespace, flops: list[float], losses: list[float], tokens: float
) -> tuple[list[str], dict[str, Any]]:
    law = read_law(args, "chinchilla")
    fixed = {}
    if args.unique_tokens is not None:
        fixed["U"] = number(args.unique_tokens, "--unique-tokens")
    if "D" not in registry.get(law.block["law"]).columns and law.block.get("warnings"):
        raise UserError(f"{law.name}: no allocation, since {law.block['warnings'][0]}")
    source = law.fit or law.block
    asked: list[dict[str, float]] = [{"flops": c} for c in flops] + [{"loss": v} for v in losses]
    found = [allocate(source, inference_tokens=tokens, fixed=fixed, **ask) for ask in asked]
    lines = law.describe()
    for one in found:
        lines += _lines(one, law)
    keys = ("law", "x", "y", "params", "convention")
    return lines, {
        "approach": "parametric",
        **{key: law.block.get(key) for key in keys},
        "allocations": [one.to_json() for one in found],
    }


def _lines(one: Allocation, law: Law) -> list[str]:
    rows = [
        ("N", one.n, "N", "parameters"),
        ("D", one.d, "D", "tokens"),
        ("D / N", one.tokens_per_parameter, "tokens_per_parameter", "tokens per parameter"),
        ("loss", one.loss, "loss", unit_of(law.block["y"])),
        ("C", one.flops, "flops", "FLOPs"),
    ]
    split = f"6 N D = {one.training_flops:.6g}"
    if one.inference_tokens:
        split += f", 2 N T = {2 * one.n * one.inference_tokens:.6g}"
    lines = [f"C = {one.flops:.6g} FLOPs ({split}); {one.method}"]
    for name, value, key, unit in rows:
        if key != "flops" or "flops" in one.intervals:
            lines.append(f"  {_value(name, value, one.intervals.get(key))} {unit}")
    for name, (value, low, high) in one.exponents.items():
        lines.append(f"  {name}_opt ~ C^{_value('', value, (low, high))}")
    level = f"{one.level:.0%} intervals: " if one.intervals and one.level else ""
    return [*lines, f"  {level}{one.interval_method}", *_far(one, law)]


def _value(name: str, value: float, ends: tuple[float | None, float | None] | None) -> str:
    text = f"{name} = {value:.6g}" if name else f"{value:.4f}"
    if ends is None or ends == (None, None):
        return text
    low, high = ("open" if end is None else f"{end:.5g}" for end in ends)
    return f"{text} [{low}, {high}]"


def _far(one: Allocation, law: Law) -> list[str]:
    """How far the optimum lies from the sizes of the fit."""
    points, form = law.block.get("points"), registry.get(law.block["law"])
    if not points:
        return []
    told = []
    for name, value in (("N", one.n), ("D", one.d)):
        column = law.columns[form.columns.index(name)]
        values = [row[column] for row in points]
        if value > max(values):
            told.append(f"{column} is {value / max(values):.3g} times the largest of the fit")
        elif value < min(values):
            told.append(f"{column} is 1/{min(values) / value:.3g} of the smallest of the fit")
    return [f"  extrapolated: {', '.join(told)}"] if told else []


def _frontier(args: argparse.Namespace, flops: list[float]) -> tuple[list[str], dict[str, Any]]:
    """Approaches 1 and 2, from a table of runs."""
    if Path(args.source).suffix.lower() == ".json" or args.source in published.names():
        raise UserError(f"{args.source}: --approach {args.approach} needs a table of runs (CSV)")
    keep = (args.budget, args.flops_column)
    runs, x = read_table(args, registry.get("power_offset"), keep)
    n = x[0] if x else next((name for name in ("N", "N_total") if name in runs.columns), "N")
    found: IsoFlop | Envelope
    with naming(args.source):
        if args.approach == "isoflop":
            found = isoflop(
                runs,
                n,
                budget=args.budget,
                flops=args.flops_column,
                degree=args.degree,
                window=args.window,
                level=args.level,
            )
        else:
            found = envelope(runs, n, run=args.run, flops=args.flops_column, level=args.level)
    lines, answers = [found.summary()], []
    for budget in flops:
        at = found.frontier.at(budget)
        lines.append(f"C = {budget:.4g} FLOPs")
        for name, (value, low, high) in at.items():
            name = {"tokens_per_parameter": "D / N"}.get(name, name)
            lines.append(f"  {_value(name, value, (low, high))}")
        outside = found.frontier.outside(budget)
        if outside:
            lines.append(f"  {outside}: extrapolated")
        answers.append(
            {"flops": budget, **{name: list(item) for name, item in at.items()}, "outside": outside}
        )
    lines.append(
        f"{args.level:.0%} intervals: Student's t on the regression of logs; of the loss, by its "
        "own law in C"
    )
    block = {**found.to_json(), "x": n, "counted": CONVENTIONS.get(n, f"column {n!r}")}
    return lines, {**block, "allocations": answers}
