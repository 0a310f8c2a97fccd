"""The verb `next`: the run, or handful of runs, that narrows an interval most for a budget.

It stands here and not beside `scalelab.advise`, which decides, since it draws as well and the
figures come after the advice.
"""

import argparse
from pathlib import Path
from typing import Any

from scalelab.advise.next import choose_on_grid
from scalelab.advise.report import STUDIES, Advice, advise
from scalelab.errors import UserError
from scalelab.files import file_sha256, write_json
from scalelab.laws import registry
from scalelab.laws.command import is_plain, naming
from scalelab.laws.command_predict import number
from scalelab.laws.runs import headers
from scalelab.laws.runs.table import read_runs
from scalelab.provenance import manifest

SUFFIXES = (".pdf", ".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab next`."""
    parser.add_argument("runs_csv", nargs="?", metavar="RUNS.csv", help="one row per finished run")
    parser.add_argument("--study", type=Path, help="folder of a study's results, instead of a CSV")
    parser.add_argument("--flops", required=True, help="budget of the next runs, such as 1e17")
    parser.add_argument("--law", default="chinchilla", help="law to fit (default: chinchilla)")
    parser.add_argument(
        "--quantity",
        default="alpha",
        help="what to narrow: a parameter, a (exponent of N_opt), loss@N=1e9,D=2e10, N_opt@C=1e20",
    )
    parser.add_argument("--runs", type=int, default=1, help="the most runs (default: 1)")
    parser.add_argument("--max-n", help="largest N (default: ten times the study's)")
    parser.add_argument("--max-d", help="largest D (default: ten times the study's)")
    parser.add_argument("--sizes", help="the only N to choose from, with commas")
    parser.add_argument("--noise", type=float, help="relative noise of a run's loss, where known")
    parser.add_argument("--x", help="header of the x column; two with a comma for two x")
    parser.add_argument("--y", help="header of the loss column")
    parser.add_argument("--unit", help="unit of the loss: nats, bits or perplexity")
    parser.add_argument("--cluster", metavar="COLUMN", help="as for fit; or none")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated outcomes")
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--figure", type=Path, help="expected interval against cost: PDF, SVG, PNG")


def run(args: argparse.Namespace) -> int:
    """Choose, print, write; bad input raises `UserError`, nothing written."""
    source = _source(args)
    if args.figure and args.figure.suffix not in SUFFIXES:
        raise UserError(f"--figure {args.figure}: expected a name in {', '.join(SUFFIXES)}")
    if args.studies < 1:
        raise UserError(f"--studies {args.studies}: expected 1 or more")
    with naming(source):
        advice = _advice(args, source)
    print("\n".join(advice.lines()))
    if args.json:
        settings = {key: value for key, value in vars(args).items() if is_plain(value)}
        made = manifest({**settings, "source": source}, file_sha256(source)[:12])
        write_json(args.json, {**advice.to_json(), "provenance": made})
    if args.figure:
        from scalelab.figures import next_run, style

        with style.context():
            style.save(next_run.draw(advice), args.figure)
    return 0


def _source(args: argparse.Namespace) -> str:
    """The table of runs, given or that of a study."""
    if (args.runs_csv is None) == (args.study is None):
        raise UserError("expected either a table of runs (CSV) or --study FOLDER")
    if args.study is None:
        return str(args.runs_csv)
    table = args.study / "runs.csv"
    if not table.exists():
        raise UserError(f"{args.study}: holds no runs.csv: expected the results of a study")
    return str(table)


def _advice(args: argparse.Namespace, source: str) -> Advice:
    form = registry.get(args.law)
    x, columns = headers.x_columns(args.x, form)
    y, named = headers.loss_column(args.y)
    table = read_runs(source, columns | named, args.unit)
    limits: dict[str, Any] = {
        "max_n": number(args.max_n, "--max-n") if args.max_n else None,
        "max_d": number(args.max_d, "--max-d") if args.max_d else None,
        "sizes": [number(text, "--sizes") for text in headers.listed(args.sizes or "")],
    }
    choice = choose_on_grid(
        table,
        form.name,
        args.quantity,
        number(args.flops, "--flops"),
        args.runs,
        args.level,
        args.noise,
        args.seed,
        **limits,
        x=x,
        y=y,
        cluster=headers.named_column(args.cluster, table, columns),
    )
    return advise(choice, args.seed, args.studies, **limits)
