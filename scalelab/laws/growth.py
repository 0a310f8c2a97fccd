"""How the cost of a run grows with size: cost = c N^a, a description over the sizes at hand."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from scalelab.evaluation.columns import SETTING
from scalelab.laws.allocation.exponents import power_law
from scalelab.laws.runs.rows import failed

if TYPE_CHECKING:
    from pandas import DataFrame

COSTS = (
    *("seconds", "tokens_per_second", "C", "mfu"),
    *("peak_memory_bytes", "checkpoint_bytes"),
)
"""Columns of runs.csv that are costs."""
OF_THE_MODEL = ("C", "checkpoint_bytes")
"""Costs that are the same in every setting."""
FEWEST_SIZES = 3


def growth(runs: "DataFrame") -> list[dict[str, Any]]:
    """One block a cost that was measured at three sizes or more (fields: results/README.md).

    ln cost is regressed on ln N by ordinary least squares over one point a size: the mean of ln
    cost over its good runs. Seeds repeat a size and are no further evidence of how cost grows
    with it. Costs that depend on the setting use the runs of the most common one.
    """
    if "N" not in runs.columns:
        return []
    records: list[Mapping[Any, Any]] = list(runs.to_dict("records"))
    rows = [
        row for row in records if not failed(row.get("status")) and _number(row["N"]) is not None
    ]
    common = _most_common(rows)
    blocks = []
    for column in COSTS:
        alike = column not in OF_THE_MODEL
        chosen = [
            row
            for row in rows
            if _number(row.get(column)) is not None and (not alike or _setting(row) == common)
        ]
        block = _block(column, chosen, common if alike else ())
        blocks += [block] if block else []
    return blocks


def _block(
    column: str, rows: Sequence[Mapping[Any, Any]], setting: tuple[Any, ...]
) -> dict[str, Any] | None:
    sizes, costs = by_size((float(row["N"]), float(row[column])) for row in rows)
    if len(sizes) < FEWEST_SIZES:
        return None
    law = power_law(sizes, costs, names=("N", column))
    tokens = [value for row in rows if (value := _number(row.get("D"))) is not None]
    return {
        "column": column,
        "setting": {name: v for name, v in zip(SETTING, setting, strict=False) if v is not None},
        "exponent": law.exponent,
        "standard_error": law.standard_error,
        "interval": list(law.interval),
        "interval_level": law.level,
        "coefficient": law.coefficient,
        "sizes": len(sizes),
        "runs": len(rows),
        "N": [sizes[0], sizes[-1]],
        "D": [min(tokens), max(tokens)] if tokens else None,
    }


def by_size(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Distinct sizes in order, and the geometric mean of the values at each."""
    groups: dict[float, list[float]] = {}
    for size, value in pairs:
        groups.setdefault(size, []).append(math.log(value))
    sizes = sorted(groups)
    return sizes, [math.exp(fmean(groups[size])) for size in sizes]


def _most_common(rows: Sequence[Mapping[Any, Any]]) -> tuple[Any, ...]:
    tally = Counter(_setting(row) for row in rows)
    # Among equals the first by name, so that the order of the rows decides nothing.
    return min(tally, key=lambda key: (-tally[key], str(key)), default=())


def _setting(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(_plain(row.get(name)) for name in SETTING)


def _plain(value: Any) -> int | str | None:
    number = _number(value)
    if number is not None:
        return int(number)
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    """A finite number above 0, else None: a cost of 0 was not measured."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
