"""The verb `fit`: a CSV of runs in, a law out."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.files import file_sha256, read_json, write_json
from scalelab.laws import registry
from scalelab.laws.answers.words import describe
from scalelab.laws.estimation.objective import OBJECTIVES
from scalelab.laws.fitting import fit
from scalelab.laws.result import summary
from scalelab.laws.runs import headers
from scalelab.laws.runs.cells import RULES
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.table import read_runs
from scalelab.laws.settings import INTERVALS
from scalelab.laws.study import fit_study
from scalelab.provenance import manifest
from scalelab.sums import sealed

if TYPE_CHECKING:
    from pandas import DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab fit`."""
    parser.add_argument("runs", metavar="RUNS.csv", help="one row per finished run")
    parser.add_argument("--law", default=None, help="law to fit (default: power_offset)")
    add_table_arguments(parser)
    parser.add_argument(
        "--fix", action="append", default=[], metavar="E=1.69", help="hold a parameter; repeatable"
    )
    parser.add_argument(
        "--tie", action="append", default=[], metavar="alpha=beta", help="make two parameters one"
    )
    parser.add_argument("--intervals", default="auto", help=", ".join(INTERVALS))
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--convention", help="what x counts, in words, for the record")
    parser.add_argument("--fits", help="a study's fits as JSON, or a file that holds them")
    parser.add_argument(
        "--answers", help="what a study's design asks beside its fits, as JSON or a file"
    )
    parser.add_argument(
        "--runs-root", metavar="DIR", help="folder with one folder a run, for answers from curves"
    )
    parser.add_argument("--study", help="name of the study, with --fits")
    parser.add_argument("--json", help="file to write")


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """How to read the table of runs and what to minimise; shared with `compare`."""
    parser.add_argument("--x", help="header of the x column; two with a comma for two x")
    parser.add_argument("--y", help="header of the loss column")
    parser.add_argument("--unit", help="unit of the loss: nats, bits or perplexity")
    parser.add_argument(
        "--objective", default=None, help=" or ".join(OBJECTIVES) + " (default: least_squares)"
    )
    parser.add_argument(
        "--delta", type=float, help="Huber threshold, and alone asks for huber; 1e-3 in Chinchilla"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals")
    parser.add_argument(
        "--cluster", metavar="COLUMN", help="rows of one value are one piece of evidence; or none"
    )
    parser.add_argument("--noise", metavar="COLUMN", help="standard error of the loss, to weigh by")
    parser.add_argument("--cell", help=f"several rows at one x: {', '.join(RULES)}")


def run(args: argparse.Namespace) -> int:
    """Fit, print the summary, write the JSON; bad input raises `UserError`, nothing written."""
    if args.fits is not None or args.answers is not None:
        return _study(args)
    form = registry.get(args.law or "power_offset")
    with naming(args.runs):
        runs, keywords, told = read_table(args, form)
        result = fit(
            form.name,
            runs,
            convention=args.convention or told,
            intervals=args.intervals,
            resamples=args.resamples,
            seed=args.seed,
            fixed=headers.fixed(args.fix),
            tied=headers.tied(args.tie),
            **keywords,
        )
    block = result.to_json()
    print(result.summary())
    if args.json:
        settings = {key: value for key, value in vars(args).items() if is_plain(value)}
        made = manifest({**settings, "fix": args.fix, "tie": args.tie}, file_sha256(args.runs)[:12])
        write_json(args.json, {**block, "provenance": made})
    return 0


def read_table(
    args: argparse.Namespace, form: registry.Form
) -> tuple["DataFrame", dict[str, Any], str | None]:
    """The table of runs, the arguments of `fit` that its flags say, and what x counts."""
    x, columns = headers.x_columns(args.x, form)
    y, named = headers.loss_column(args.y)
    runs = read_runs(args.runs, columns | named, args.unit)
    if y not in runs.columns:
        found = [str(c) for c in runs.columns]
        raise UserError(f"no loss column found: {missing_column(y, found)}: name it with --y")
    noise = headers.named_column(args.noise, runs, columns)
    if noise and runs.attrs["loss_unit"] == "perplexity":
        raise UserError(f"--noise {noise}: a loss in nats or bits is needed, found perplexity")
    keywords = {
        "x": x,
        "y": y,
        "objective": args.objective,
        "delta": args.delta,
        "level": args.level,
        "cluster": headers.named_column(args.cluster, runs, columns),
        "noise": noise,
        "cell": args.cell,
    }
    return runs, keywords, headers.convention(x, columns)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file before the sentence of a `UserError` raised inside, unless it names it."""
    try:
        yield
    except UserError as error:
        text = str(error)
        raise UserError(text if str(path) in text else f"{path}: {text}") from None


def _study(args: argparse.Namespace) -> int:
    fits, answers = _listed(args.fits, "--fits"), _listed(args.answers, "--answers")
    runs = read_runs(args.runs)
    name = args.study or Path(args.runs).parent.name
    laws = fit_study(runs, fits, name, answers, args.runs_root)
    told = [summary(block) for block in laws["fits"]]
    told += [describe(block) for block in laws["answers"]]
    for item in laws["failed"]:
        told.append(f"{item.get('law') or item['answer']}: {item['reason']}")
    print("\n\n".join(told or ["nothing was asked of the runs: no fits, no answers"]))
    if args.json:
        with sealed(Path(args.json)):
            write_json(args.json, laws)
    return 0


def _listed(text: str | None, flag: str) -> list[dict[str, Any]]:
    """A JSON list from the command line or from a file; empty without one."""
    if text is None:
        return []
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{flag}: expected JSON, but {error}") from None
    else:
        value = read_json(text)
    if not isinstance(value, list):
        what = flag.removeprefix("--")
        raise UserError(f"{flag}: expected a JSON list of {what}, found {type(value).__name__}")
    return value


def is_plain(value: Any) -> bool:
    """Whether an option is a value that strict JSON can hold."""
    return value is None or isinstance(value, (str, int, float))
