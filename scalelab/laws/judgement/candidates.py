"""Which laws can be compared on a table, and by which of its columns."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.registry import Form
from scalelab.laws.runs.points import Points

if TYPE_CHECKING:
    from pandas import DataFrame

TIES = (("alpha", "beta"),)
"""Offered as one number in each law that has both."""


@dataclass(frozen=True)
class Candidate:
    """A law with its ties, and the places of its x among the columns of the points."""

    form: Form
    tied: tuple[tuple[str, str], ...]
    places: tuple[int, ...]

    @property
    def name(self) -> str:
        """The law, and what is tied in it."""
        return ", ".join([self.form.name, *(f"{a} = {b}" for a, b in self.tied)])

    def view(self, points: Points) -> Points:
        """The points with the columns of this law alone."""
        columns = tuple(points.columns[i] for i in self.places)
        return dataclasses.replace(points, columns=columns, x=points.x[:, list(self.places)])


def wide_form(laws: Sequence[str] | None, count: int | None) -> Form:
    """The law with most columns of those asked for, or a usual one of `count` columns."""
    if laws:
        return max((registry.get(name) for name in laws), key=lambda form: len(form.columns))
    usual = ("N", "D", "U")[: count or 1]
    named = [registry.get(name) for name in registry.discover()]
    return next(form for form in named if form.columns == usual)


def wide_columns(
    runs: "DataFrame", laws: Sequence[str] | None, x: str | Sequence[str] | None
) -> tuple[Form, tuple[str, ...]]:
    """The law with most columns, and the columns of the table that stand for them."""
    given = None if x is None else (x,) if isinstance(x, str) else tuple(x)
    flops = bool({"C", "C_6ND"} & set(runs.columns))
    two = "N" in runs.columns and ("D" in runs.columns or flops)
    wide = wide_form(laws, len(given) if given else 1 + two)
    columns = given or wide.columns
    if len(columns) != len(wide.columns):
        raise UserError(
            f"{wide.name} needs {len(wide.columns)} x columns (such as "
            f"{', '.join(wide.columns)}): {len(columns)} given ({', '.join(columns)})"
        )
    return wide, tuple(columns)


def candidates(laws: Sequence[str] | None, wide: Form, columns: tuple[str, ...]) -> list[Candidate]:
    """The laws asked for, or the usual ones of the same columns, and those with tied exponents."""
    found: list[Candidate] = []
    seen: set[tuple[str, ...]] = set()
    for name in laws or registry.discover():
        form = registry.get(name)
        if laws and form.select is not None:
            raise UserError(f"{name} is of some of the points alone: fit it by itself")
        places = _places(form, wide, columns)
        if places is None or (laws is None and len(places) < len(columns)):
            if laws:
                raise UserError(
                    f"law {name} is one of {', '.join(form.columns)}, which are not among "
                    f"{', '.join(wide.columns)}: it cannot be compared with {wide.name}"
                )
            continue
        same = (form.formula, *form.parameters)
        if laws is None and (same in seen or form.by_request):
            continue
        seen.add(same)
        found.append(Candidate(form, (), places))
        found += [
            Candidate(form, (pair,), places) for pair in TIES if set(pair) <= set(form.parameters)
        ]
    return found


def _places(form: Form, wide: Form, columns: tuple[str, ...]) -> tuple[int, ...] | None:
    """Where a law's x stand among the columns; None for a law of something else."""
    if form.columns == wide.columns or form.columns == columns:
        return tuple(range(len(columns)))
    if len(form.columns) == len(columns) == 1 and {*form.columns, *wide.columns} <= {"N", "C", "D"}:
        generic = form.columns == ("N",) or form.columns == columns
        return (0,) if generic else None
    if all(column in wide.columns for column in form.columns):
        return tuple(wide.columns.index(column) for column in form.columns)
    return None
