"""Read a CSV of finished runs: recognise its columns, units and numbers, or say what is wrong."""

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import UserError
from scalelab.laws.runs.points import missing_column, normal_name
from scalelab.laws.runs.rows import failed
from scalelab.sums import check_seal

if TYPE_CHECKING:
    from pandas import DataFrame

MAY_LACK = ("bits_per_byte",)
"""Columns that may be empty from top to bottom: not every loss is that of a whole text."""
EXACT = ("N", "N_total", "N_embedding", "D", "U", "C", "C_6ND", "loss_nats", "bits_per_byte")
ALIASES = {
    "N": (
        "non_embedding_params",
        "nonembedding_params",
        "params_non_embedding",
        "n_non_embedding",
        "non_embedding_parameters",
    ),
    "N_total": ("n_total", "total_params", "params_total", "total_parameters"),
    "N_embedding": ("n_embedding", "embedding_params", "embedding_parameters"),
    "D": ("tokens", "train_tokens", "training_tokens", "n_tokens", "num_tokens"),
    "U": ("unique_tokens", "tokens_unique", "n_unique_tokens", "unique_train_tokens", "d_unique"),
    "C": ("flops", "train_flops", "training_flops", "training_flop", "total_flops"),
    "bits_per_byte": ("bpb", "val_bpb"),
}
HELD_OUT = ("val_loss", "test_loss", "eval_loss", "validation_loss")
LOSS = (*HELD_OUT, "final_loss", "loss")
PERPLEXITY = ("ppl", "perplexity", "val_ppl", "test_ppl")
UNITS = ("nats", "bits", "perplexity")
LARGE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kKMGBT]?)")


def read_runs(
    path: str | Path, columns: Mapping[str, str] | None = None, unit: str | None = None
) -> "DataFrame":
    """Read one row per run into a table with the names used here.

    columns: {our name: header in the file}, for headers that are not recognised; a bare `params`
    is one, since it does not say whether embeddings are counted. `loss_nats` may be mapped too;
    its unit is then `unit`. unit: nats, bits or perplexity, for a loss column whose header does
    not say; loss_nats, loss_bits and ppl do. Sizes may be written 70M or 1.4T. The result has a
    column `line`, the line of the file, and `attrs["loss_unit"]`, what its loss was read in.

    Raises:
        UserError: no such file, a folder, not UTF-8, no rows, a ragged row, a header that is
            missing or doubled, a cell that is no number, a unit that is missing or mixed.
    """
    import pandas as pd

    header, rows, lines = read_rows(Path(path))
    mapping = map_headers(path, header, dict(columns or {}))
    status = header.index("status") if "status" in header else None
    gone = [status is not None and failed(row[status]) for row in rows]
    data: dict[str, list] = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    loss, unit = _loss(path, header, mapping, unit, data)
    numbers = {
        name: source
        for name, source in mapping.items()
        if name != "loss_nats" and (name not in MAY_LACK or any(data[source]))
    }
    for name, source in numbers.items():
        data[name] = [
            parse_cell(path, lines[i], source, data[source][i], False, gone[i])
            for i in range(len(rows))
        ]
        if name != source and source in data and source not in mapping:
            del data[source]
    if loss is not None:
        values = [
            parse_cell(path, lines[i], loss, data[loss][i], True, gone[i]) for i in range(len(rows))
        ]
        data["loss_nats"] = [_nats(path, lines[i], loss, v, unit) for i, v in enumerate(values)]
    table = pd.DataFrame(data)
    for name in table.columns:
        if name not in numbers and name not in ("loss_nats", "label", "run", "name", "id"):
            table[name] = _plain(table[name], pd)
    for name in ("status", "reason", "label", "run", "name", "id"):
        if name in table.columns:
            table[name] = [text if text != "" else None for text in table[name]]
    table["line"] = lines
    table.attrs["loss_unit"] = unit if loss is not None else None
    return table


def ours(header: str) -> str | None:
    """Our name for a header that says what it counts; None for one that does not."""
    known = (n for n in EXACT if header == n or normal_name(header) in ALIASES.get(n, ()))
    return next(known, None)


def read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows of text, and the line of each row in the file."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a CSV file")
    check_seal(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8, expected a UTF-8 CSV") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise UserError(f"{path}: holds null characters, expected a UTF-8 CSV (not UTF-16)")
    if not text.strip():
        raise UserError(f"{path}: is empty, expected a header and one row per run")
    first = text.lstrip().splitlines()[0]
    separator = next((s for s in ",;\t" if s in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=separator)
    header: list[str] = []
    rows, lines = [], []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row]
        if not header:
            header = cells
        elif len(cells) != len(header):
            raise UserError(
                f"{path}, line {reader.line_num}: {len(cells)} cells, the header has "
                f"{len(header)} (a number such as 1,000,000 must be written 1000000)"
            )
        else:
            rows.append(cells)
            lines.append(reader.line_num)
    if not rows:
        raise UserError(f"{path}: has a header but no rows")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: column {doubled[0]!r} appears twice")
    return header, rows, lines


def map_headers(path: str | Path, header: list[str], named: dict[str, str]) -> dict[str, str]:
    """{our name: header}, named by the caller or recognised."""
    for source in named.values():
        if source not in header:
            raise UserError(f"{path}: {missing_column(source, header)}")
    mapping = dict(named)
    for name in header:
        known = ours(name)
        if known is None or name in named.values():
            continue
        if known in mapping and known not in named:
            raise UserError(
                f"{path}: both {mapping[known]!r} and {name!r} could be {known}: name one"
            )
        mapping.setdefault(known, name)
    return mapping


def _loss(
    path: str | Path,
    header: list[str],
    mapping: dict[str, str],
    unit: str | None,
    data: dict[str, list],
) -> tuple[str | None, str]:
    """The header that holds the loss, and its unit."""
    if unit is not None and unit not in UNITS:
        raise UserError(f"unit {unit!r} is unknown: expected {', '.join(UNITS)}")
    named = {normal_name(name): name for name in header}
    source = mapping.get("loss_nats")
    if source is None:
        found = [named[n] for n in ("loss_bits", *LOSS, *PERPLEXITY) if n in named]
        if not found:
            return None, "nats"
        source = found[0]
        rivals = [name for name in found if normal_name(name) in HELD_OUT]
        if source in rivals and len(rivals) > 1:
            raise UserError(f"{path}: both {rivals[0]!r} and {rivals[1]!r} are losses: name one")
    own = _own_unit(normal_name(source))
    column = next((named[n] for n in ("unit", "loss_unit") if n in named), None)
    if column is not None:
        written = sorted({str(value).strip().lower() for value in data[column]})
        if len(written) > 1:
            raise UserError(f"{path}: column {column!r} mixes units ({', '.join(written)})")
        if written[0] not in UNITS:
            raise UserError(f"{path}: unit {written[0]!r} is unknown: one of {', '.join(UNITS)}")
        own = own or written[0]
    if own and unit and own != unit:
        raise UserError(f"{path}: column {source!r} holds {own}, but the unit given is {unit}")
    if not (own or unit):
        raise UserError(
            f"{path}: column {source!r} does not say its unit: give nats, bits or perplexity "
            "(--unit)"
        )
    return source, str(own or unit)


def _own_unit(name: str) -> str | None:
    if name in PERPLEXITY:
        return "perplexity"
    for unit in ("nats", "bits"):
        if name.endswith(f"_{unit}"):
            return unit
    return None


def parse_cell(
    path: str | Path, line: int, column: str, text: str, is_loss: bool, failed: bool = False
) -> float:
    """One number of a file; see `parse_number`."""
    return parse_number(f"{path}, line {line}, column {column!r}", text, is_loss, failed)


def parse_number(where: str, text: str, is_loss: bool, failed: bool = False) -> float:
    """One number. In a run whose status says that it failed it may be missing, nan or inf, and a
    count may be 0: of tokens, where it failed in its first step. where: opens the `UserError`.
    """
    no_number = text.lower().lstrip("+-") in ("", "nan", "inf", "infinity", "none", "null", "na")
    if failed and no_number:
        return math.nan
    match = NUMBER.fullmatch(text)
    if not match:
        found = "an empty cell" if text == "" else f"{text!r}"
        expected = "a number such as 4000000, 4e6 or 4M"
        if is_loss:
            expected = "a loss"
            if no_number:
                expected += " (a run that failed needs a column status that says so)"
        raise UserError(f"{where}: found {found}, expected {expected}")
    suffix = match[2].upper() if match[2] == "k" else match[2]
    value = float(match[1]) * LARGE[suffix]
    nought = failed and not is_loss and value == 0
    if not (value > 0 and math.isfinite(value)) and not nought:
        raise UserError(f"{where}: found {text!r}, expected a finite number above 0")
    return value


def _nats(path: str | Path, line: int, column: str, value: float, unit: str) -> float:
    if unit == "bits":
        return value * math.log(2)
    if unit == "perplexity" and not math.isnan(value):
        if value <= 1:
            raise UserError(
                f"{path}, line {line}, column {column!r}: found {value:g}, but a perplexity is "
                "above 1"
            )
        return math.log(value)
    return value


def _plain(column, pd):  # type: ignore[no-untyped-def]
    """A column that is all numbers as numbers, else as it is."""
    numbers = pd.to_numeric(column.replace("", None), errors="coerce")
    return numbers if (numbers.notna() | (column == "")).all() else column
