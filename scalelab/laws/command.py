"""The verb `fit`: a CSV of runs in, a law out."""

import argparse
import json
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import read_json, write_json
from scalelab.laws import registry
from scalelab.laws.fitting import INTERVALS, fit
from scalelab.laws.objective import OBJECTIVES
from scalelab.laws.result import summary
from scalelab.laws.study import fit_study
from scalelab.laws.table import EXACT, read_runs
from scalelab.provenance import manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab fit`."""
    parser.add_argument("runs", metavar="RUNS.csv", help="one row per finished run")
    parser.add_argument("--law", default=None, help="law to fit (default: power_offset)")
    parser.add_argument("--x", help="header of the x column; two with a comma for two x")
    parser.add_argument("--y", help="header of the loss column")
    parser.add_argument("--unit", help="unit of the loss: nats, bits or perplexity")
    parser.add_argument("--objective", default="least_squares", help=" or ".join(OBJECTIVES))
    parser.add_argument("--delta", type=float, help="Huber threshold; 1e-3 as in Chinchilla")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals")
    parser.add_argument("--intervals", default="auto", help=", ".join(INTERVALS))
    parser.add_argument("--fits", help="a study's fits as JSON, or a file that holds them")
    parser.add_argument("--study", help="name of the study, with --fits")
    parser.add_argument("--json", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Fit, print the summary, write the JSON; bad input raises `UserError`, nothing written."""
    if args.fits is not None:
        return _study(args)
    form = registry.get(args.law or "power_offset")
    x, columns = _x_columns(args.x, form)
    y = "loss_nats"
    if args.y:
        columns[y] = args.y
    runs = read_runs(args.runs, columns, args.unit)
    if y not in runs.columns:
        raise UserError(
            f"{args.runs}: no loss column found among {', '.join(c for c in runs.columns)}: "
            "name it with --y"
        )
    result = fit(
        form.name,
        runs,
        x,
        y,
        objective=args.objective,
        delta=args.delta,
        level=args.level,
        intervals=args.intervals,
    )
    block = result.to_json()
    print(result.summary())
    if args.json:
        settings = {key: value for key, value in vars(args).items() if _is_plain(value)}
        write_json(args.json, {**block, "provenance": manifest(settings)})
    return 0


def _x_columns(text: str | None, form: registry.Form) -> tuple[list[str] | None, dict[str, str]]:
    """x for `fit`, and the headers that the reader must take by name.

    A single x keeps its header, so that the formula and the convention name it as the file does.
    """
    if not text:
        return None, {}
    headers = [part.strip() for part in text.split(",") if part.strip()]
    if len(headers) != len(form.columns):
        raise UserError(
            f"--x {text}: {form.name} needs {len(form.columns)} x columns (such as "
            f"{','.join(form.columns)})"
        )
    if len(headers) == 1:
        return headers, ({} if headers[0] in EXACT else {headers[0]: headers[0]})
    return list(form.columns), dict(zip(form.columns, headers, strict=True))


def _study(args: argparse.Namespace) -> int:
    fits = _fits(args.fits)
    runs = read_runs(args.runs)
    laws = fit_study(runs, fits, args.study or Path(args.runs).parent.name)
    for place, block in enumerate(laws["fits"]):
        print(("" if place == 0 else "\n") + summary(block))
    for item in laws["failed"]:
        print(f"\n{item['law']}: {item['reason']}")
    if args.json:
        write_json(args.json, laws)
    return 0


def _fits(text: str) -> list[dict[str, Any]]:
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"--fits: expected JSON, but {error}") from None
    else:
        value = read_json(text)
    if not isinstance(value, list):
        raise UserError(f"--fits: expected a JSON list of fits, found {type(value).__name__}")
    return value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
