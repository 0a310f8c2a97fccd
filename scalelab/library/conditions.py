"""Conditions on the columns of a table: `N>1e5 and status=ok`."""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.config.values import to_count
from scalelab.errors import UserError

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FORM = re.compile(r"\s*([^\s<>=!]+(?: [^\s<>=!]+)*)\s*(<=|>=|==|!=|=|<|>)\s*(.*?)\s*")
EMPTY = "none"


@dataclass(frozen=True)
class Condition:
    """`column sign value`; the value is a number where it reads as one, EMPTY for an empty cell."""

    column: str
    sign: str
    value: str | float

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.value}"


def parse(texts: Iterable[str]) -> list[Condition]:
    """Conditions of the options --where, each of one or more joined by `and`.

    Raises:
        UserError: not of the form `column op value`.
    """
    found = []
    for text in texts:
        for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE):
            match = FORM.fullmatch(part)
            if not match or not match[3] or match[3][0] in "<>=!":
                raise UserError(
                    f"--where {text!r}: found {part!r}, expected column, operator "
                    f"({' '.join(OPERATORS)}) and value, such as N>1e5"
                )
            found.append(Condition(match[1], match[2], number(match[3])))
    return found


def number(text: str) -> str | float:
    """1e5, 2.5M or 3e-4 as a number; other text as it is, without the quotes round it."""
    try:
        return float(to_count(text))
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def select(rows: Sequence[dict[str, Any]], conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The rows that meet all conditions. An empty cell meets none but `column=none`.

    Raises:
        UserError: a column that no row has, text where the column holds numbers, an order of text.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for one in conditions if rows else ():
        _check(one, rows, columns)
    return [row for row in rows if all(_meets(row.get(one.column), one) for one in conditions)]


def known(column: str, columns: Sequence[str], where: str) -> None:
    """Raise `UserError` with the near names for a column that is not there."""
    if column in columns:
        return
    near = difflib.get_close_matches(column, columns, n=3, cutoff=0.5)
    folded = [name for name in columns if name.lower() == column.lower()]
    hint = ", ".join(dict.fromkeys([*folded, *near])) or ", ".join(columns[:30])
    word = "did you mean" if near or folded else "there are"
    raise UserError(f"{where}: column {column!r} is unknown, {word} {hint}")


def _check(one: Condition, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    where = f"--where {one}"
    known(one.column, columns, where)
    values = [row.get(one.column) for row in rows]
    values = [value for value in values if value is not None]
    numeric = any(_is_number(value) for value in values)
    if numeric and isinstance(one.value, str) and one.value != EMPTY:
        raise UserError(
            f"{where}: column {one.column!r} holds numbers, expected one such as 1e5 or 2.5M, "
            f"found {one.value!r}"
        )
    if one.sign in ("<", "<=", ">", ">=") and (one.value == EMPTY or (values and not numeric)):
        raise UserError(f"{where}: text has no order here, expected = or !=")


def _meets(cell: Any, one: Condition) -> bool:
    compare = OPERATORS[one.sign]
    if one.value == EMPTY:
        return compare(cell in (None, ()), True)
    if cell is None:
        return False
    if isinstance(cell, tuple):
        return any(_same(item, one.value) for item in cell) == (one.sign != "!=")
    if _is_number(cell):
        return compare(float(cell), one.value)
    return _same(cell, one.value) == (one.sign != "!=")


def _same(cell: Any, value: str | float) -> bool:
    if isinstance(value, float):
        # An id of digits alone, or true and false, read as text.
        return number(str(cell)) == value
    return str(cell) == value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
