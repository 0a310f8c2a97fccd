"""The verb `predict`: losses of a law at given sizes, with intervals where the law holds points."""

import argparse
import contextlib
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.files import read_json, write_json, write_text
from scalelab.laws import published, registry
from scalelab.laws.command import is_plain
from scalelab.laws.estimation.objective import OBJECTIVES
from scalelab.laws.fitting import fit, restore
from scalelab.laws.registry import Array
from scalelab.laws.result import FitResult, finite, predict, unit_of
from scalelab.laws.runs.headers import x_columns
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.table import (
    EXACT,
    LARGE,
    NUMBER,
    map_headers,
    parse_cell,
    read_rows,
    read_runs,
)
from scalelab.provenance import manifest

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Law:
    """A law that was given to a verb: its JSON, and the fit where intervals can be had."""

    name: str
    block: dict[str, Any]
    fit: FitResult | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The x columns, in the order of the law."""
        x = self.block.get("x", registry.get(self.block["law"]).columns)
        return (x,) if isinstance(x, str) else tuple(x)

    def describe(self) -> list[str]:
        """Where the law comes from and what its x counts, in lines for a terminal."""
        values = ", ".join(f"{name} = {value:.6g}" for name, value in self.block["params"].items())
        lines = [f"{self.name}: law {self.block['law']}, {values}"]
        for key in ("source", "convention", "note"):
            if self.block.get(key):
                lines.append(f"{key}: {self.block[key]}")
        return [*lines, *(f"warning: {text}" for text in self.block.get("warnings", []))]


def add_law_arguments(parser: argparse.ArgumentParser) -> None:
    """The law to use and, for a table of runs, how to fit it; shared with `allocate`."""
    parser.add_argument(
        "source",
        metavar="LAW",
        help="JSON of `fit` or of a study (laws.json), a table of runs to fit (CSV), or one of "
        + ", ".join(published.names()),
    )
    parser.add_argument(
        "--law", help="law to fit to a table, or to choose from a study's laws.json"
    )
    parser.add_argument("--fit", type=int, help="which fit of laws.json, counted from 1")
    parser.add_argument("--x", help="table: header of the x column; two with a comma for two x")
    parser.add_argument("--y", help="table: header of the loss column")
    parser.add_argument("--unit", help="table: unit of the loss: nats, bits or perplexity")
    parser.add_argument("--objective", help="table: " + " or ".join(OBJECTIVES))
    parser.add_argument("--delta", type=float, help="table: Huber threshold")
    parser.add_argument("--level", type=float, default=0.95, help="table: of the intervals")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab predict`."""
    add_law_arguments(parser)
    parser.add_argument(
        "--at", action="append", default=[], metavar="N=70e9,D=1.4e12", help="may be repeated"
    )
    parser.add_argument("--points", metavar="CSV", help="a row for each prediction")
    parser.add_argument("--json", help="file to write, full precision")
    parser.add_argument("--csv", help="file to write, full precision")


def run(args: argparse.Namespace) -> int:
    """Predict, print, write; bad input raises `UserError`, nothing written."""
    law = read_law(args, "power_offset")
    x = np.concatenate([parse_at(args.at, law.columns), _points(args.points, law.columns)])
    if not len(x):
        wanted = ",".join(f"{column}=1e9" for column in law.columns)
        raise UserError(f"nothing to predict at: expected --at {wanted} or --points CSV")
    rows = predictions(law, x)
    value = f"predicted_{unit_of(law.block['y'])}"
    print("\n".join(law.describe()))
    if law.fit:
        print(f"{law.fit.level:.0%} intervals, mean curve and one run: {_method(law)}")
    for row in rows:
        print(_line(row, law.columns, value))
    if args.json:
        settings = {key: item for key, item in vars(args).items() if is_plain(item)}
        keys = ("law", "x", "y", "params", "convention")
        write_json(
            args.json,
            {
                **{key: law.block.get(key) for key in keys},
                "interval_level": law.fit.level if law.fit else None,
                "interval_method": _method(law),
                "predictions": rows,
                "provenance": manifest({**settings, "at": args.at}),
            },
        )
    if args.csv:
        write_text(args.csv, _table(rows))
    return 0


def read_law(args: argparse.Namespace, default: str) -> Law:
    """The law that `source` stands for; a table is fitted, with the law `default` unless named."""
    source = str(args.source)
    if source in published.names() and not Path(source).exists():
        return Law(source, published.get(source).to_block(), None)
    if Path(source).suffix.lower() == ".json":
        return _stored(source, _block(source, read_json(source), args.law, args.fit))
    if not Path(source).exists() and not Path(source).suffix:
        published.get(source)  # says which names there are
    form = registry.get(args.law or default)
    runs, x = read_table(args, form)
    with naming(source):
        result = fit(
            form.name, runs, x, objective=args.objective, delta=args.delta, level=args.level
        )
    return Law(source, result.to_json(), result)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file before the sentence of a `UserError` that is raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _stored(source: str, block: dict[str, Any]) -> Law:
    """A fit's JSON with its fit made again, unless its parameters are not those of its points."""
    found = restore(block)
    if found is None:
        return Law(source, block, None)
    theirs = [block["params"][name] for name in found.params]
    if np.allclose(theirs, list(found.params.values()), rtol=1e-4, atol=1e-6):
        return Law(source, block, found)
    text = "the parameters are not those that its points give: no intervals"
    return Law(source, {**block, "warnings": [*block.get("warnings", []), text]}, None)


def read_table(
    args: argparse.Namespace, form: registry.Form, keep: Sequence[str | None] = ()
) -> tuple["DataFrame", list[str] | None]:
    """The table of runs and the x columns to fit, as `scalelab fit` reads them.

    keep: headers of more numbers that must not be renamed.
    """
    x, columns = x_columns(args.x, form)
    columns |= {name: name for name in keep if name}
    if args.y:
        columns["loss_nats"] = args.y
    runs = read_runs(args.source, columns, args.unit)
    if "loss_nats" not in runs.columns:
        raise UserError(
            f"{args.source}: no loss column found among {', '.join(map(str, runs.columns))}: name "
            "it with --y"
        )
    return runs, x


def _block(path: str, content: Any, law: str | None, number: int | None) -> dict[str, Any]:
    """One fit's JSON from a file of `fit` or of a study."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected the JSON of a fit, found a {type(content).__name__}")
    fits = content.get("fits", [content])
    if not fits:
        raise UserError(f"{path}: holds no fit (key fits is empty)")
    if number is not None:
        if not 1 <= number <= len(fits):
            raise UserError(f"{path}: --fit {number}, expected 1 to {len(fits)}")
        fits = fits[number - 1 : number]
    for block in fits:
        for key in ("law", "params"):
            if not isinstance(block, dict) or key not in block:
                raise UserError(f"{path}: expected the JSON of a fit, and key {key!r} is missing")
    matching = [block for block in fits if law in (None, block["law"])]
    if not matching:
        found = ", ".join(str(block["law"]) for block in fits)
        raise UserError(f"{path}: holds no fit of the law {law} (it has {found})")
    form = registry.get(matching[0]["law"])
    for name in form.parameters:
        value = matching[0]["params"].get(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"{path}: parameter {name} is {value!r}, expected a number")
    return {"y": "loss_nats", **matching[0]}


def number(text: str, where: str) -> float:
    """A positive number such as 4000000, 4e6 or 4M."""
    match = NUMBER.fullmatch(text.strip())
    value = float(match[1]) * LARGE[match[2].upper()] if match else math.nan
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"{where}: found {text!r}, expected a positive number such as 4e6 or 4M")
    return value


def parse_at(texts: Sequence[str], columns: Sequence[str]) -> Array:
    """Values (n, m) of `--at` options."""
    rows, wanted = [], ",".join(f"{column}=..." for column in columns)
    for text in texts:
        values: dict[str, float] = {}
        for part in text.split(","):
            name, sign, given = (piece.strip() for piece in part.partition("="))
            if not sign or name in values:
                raise UserError(f"--at {text}: found {part!r}, expected {wanted}")
            values[name] = number(given, f"--at {text}, {name}")
        for column in columns:
            if column not in values:
                raise UserError(f"--at {text}: {column} is missing, expected {wanted}")
        for name in values:
            if name not in columns:
                raise UserError(f"--at {text}: {name!r} is no x of the law ({', '.join(columns)})")
        rows.append([values[column] for column in columns])
    return np.array(rows, float).reshape(-1, len(columns))


def _points(path: str | None, columns: Sequence[str]) -> Array:
    """Values (n, m) of the rows of a CSV."""
    if path is None:
        return np.empty((0, len(columns)))
    header, rows, lines = read_rows(Path(path))
    mapping = map_headers(path, header, {c: c for c in columns if c not in EXACT})
    for column in columns:
        if column not in mapping:
            raise UserError(f"{path}: {missing_column(column, header)}")
    places = [header.index(mapping[column]) for column in columns]
    values = [
        [parse_cell(path, line, header[place], row[place], False) for place in places]
        for row, line in zip(rows, lines, strict=True)
    ]
    return np.array(values, float)


def predictions(law: Law, x: Array) -> list[dict[str, Any]]:
    """A row for each row of x (n, m): the x, the prediction, and the ends of its intervals."""
    values = predict(law.block, x)
    mean, one = (
        (law.fit.interval(x, new_run) if law.fit else np.full((len(x), 2), np.nan))
        for new_run in (False, True)
    )
    fitted = [[row[c] for c in law.columns] for row in law.block.get("points") or []]
    low, high = (np.min(fitted, 0), np.max(fitted, 0)) if fitted else (-np.inf, np.inf)
    return [
        {
            **{c: float(v) for c, v in zip(law.columns, x[i], strict=True)},
            f"predicted_{unit_of(law.block['y'])}": float(values[i]),
            "low": finite(mean[i, 0]),
            "high": finite(mean[i, 1]),
            "run_low": finite(one[i, 0]),
            "run_high": finite(one[i, 1]),
            "outside_fit": bool(((x[i] < low) | (x[i] > high)).any()),
        }
        for i in range(len(x))
    ]


def _method(law: Law) -> str:
    if law.fit:
        return str(law.block.get("interval_method", law.fit.block["interval_method"]))
    return "none: the constants alone do not hold any"


def _line(row: dict[str, Any], columns: Sequence[str], value: str) -> str:
    at = ", ".join(f"{column} = {row[column]:.6g}" for column in columns)
    text = f"{at}: {value} {row[value]:.6f}"
    if row["low"] is not None or row["high"] is not None:
        ends = ["none" if row[k] is None else f"{row[k]:.5f}" for k in ("low", "high")]
        runs = ["none" if row[k] is None else f"{row[k]:.5f}" for k in ("run_low", "run_high")]
        text += f" [{', '.join(ends)}], one run [{', '.join(runs)}]"
    return text + (" (outside the sizes of the fit)" if row["outside_fit"] else "")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if v is None else v for key, v in row.items()} for row in rows)
    return out.getvalue()
