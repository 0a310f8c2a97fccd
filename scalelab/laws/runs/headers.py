"""Flags of the verbs that name columns or parameters, turned into what `fit` takes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalelab.errors import UserError
from scalelab.laws.registry import Form
from scalelab.laws.runs.points import BARE_SIZES, CONVENTIONS, missing_column, normal_name
from scalelab.laws.runs.table import ours

if TYPE_CHECKING:
    from pandas import DataFrame


def listed(text: str) -> list[str]:
    """The names in a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def x_columns(text: str | None, form: Form) -> tuple[list[str] | None, dict[str, str]]:
    """x for `fit`, and the headers that the reader must take by name.

    A single x keeps its header unless that says what it counts, so that formula and convention
    name it as the file does. The headers of a law of several x become the law's own columns; one
    header alone stands for the first, and the others are looked for.
    """
    if not text:
        return None, {}
    headers = listed(text)
    if not 1 <= len(headers) <= len(form.columns):
        raise UserError(
            f"--x {text}: {form.name} needs {len(form.columns)} x columns (such as "
            f"{','.join(form.columns)})"
        )
    _check_places(text, headers, form)
    if len(form.columns) == 1:
        known = ours(headers[0])
        if known is not None:
            return [known], {known: headers[0]}
        return headers, {headers[0]: headers[0]}
    columns = list(form.columns)
    if ours(headers[0]) == "N_total" and "N_total" not in columns:
        columns[0] = "N_total"
    return columns, dict(zip(columns, headers, strict=False))


def _check_places(text: str, headers: Sequence[str], form: Form) -> None:
    """N and D whose headers say the contrary."""
    if form.columns[:2] != ("N", "D"):
        return
    for column, header in zip(form.columns[:2], headers, strict=False):
        name = normal_name(header)
        is_tokens = ours(header) == "D" or "token" in name
        is_size = ours(header) in ("N", "N_total") or name in BARE_SIZES or "param" in name
        if is_tokens != is_size and is_tokens == (column == "N"):
            raise UserError(
                f"--x {text}: {header!r} is given as {column}, which its name contradicts: N and D "
                f"seem swapped (the order is {','.join(form.columns)})"
            )


def convention(x: Sequence[str] | None, columns: Mapping[str, str]) -> str | None:
    """What x counts where a header of the caller's choice stands for it; None for the default."""
    if x is None or len(x) == 1:
        return None
    told = []
    for column in x:
        header = columns.get(column, column)
        if ours(header) == column:
            told.append(CONVENTIONS.get(column, column))
        else:
            told.append(
                f"{column}: column {header!r} as named by the caller; what it counts is not known"
            )
    return "; ".join(told)


def named_column(header: str | None, runs: "DataFrame", columns: Mapping[str, str]) -> str | None:
    """The name in the table of a header of the file."""
    if header is None or header in runs.columns or header == "none":
        return header
    renamed = {source: name for name, source in columns.items()}
    name = renamed.get(header) or ours(header)
    if name not in runs.columns:
        raise UserError(missing_column(header, [str(c) for c in runs.columns]))
    return name


def loss_column(header: str | None) -> tuple[str, dict[str, str]]:
    """y for `fit`, and the header to read it from. Bits per byte stay what they are."""
    if header is None:
        return "loss_nats", {}
    if ours(header) == "bits_per_byte":
        return "bits_per_byte", {"bits_per_byte": header}
    return "loss_nats", {"loss_nats": header}


def fixed(texts: Sequence[str]) -> dict[str, float]:
    """{parameter: value} of `--fix E=1.69` options."""
    found: dict[str, float] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not sign or not name or not math.isfinite(number):
            raise UserError(f"--fix {text}: expected a parameter and a number such as E=1.69")
        if name in found:
            raise UserError(f"--fix {text}: {name} is fixed twice")
        found[name] = number
    return found


def tied(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of `--tie alpha=beta` options."""
    pairs = []
    for text in texts:
        first, sign, second = (part.strip() for part in text.partition("="))
        if not (sign and first and second) or first == second:
            raise UserError(f"--tie {text}: expected two parameters such as alpha=beta")
        pairs.append((first, second))
    return pairs
