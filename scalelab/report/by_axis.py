"""The law of each value of an axis, as a table of the page and as rows of answers.csv."""

from collections.abc import Iterator, Mapping
from typing import Any

from scalelab.evaluation.columns import set_of
from scalelab.figures import numbers
from scalelab.figures.optimum import label
from scalelab.laws.answers.words import digits, with_ends

HEADER = ("Value", "Sizes", "alpha alone", "alpha, one floor", "Difference", "Offset, times")
MINUS = "\N{MINUS SIGN}"
QUANTITIES = ("exponent", "above_floor", "exponent_difference", "offset_ratio")


def title(block: Mapping[str, Any]) -> str:
    """Heading of the section."""
    scored = set_of(block["y"])
    return f"The law by {label(block['axis'])}{f', on the set {scored}' if scored else ''}"


def caption(block: Mapping[str, Any]) -> str:
    """What the columns are."""
    return (
        f"{numbers.percent(block['level'])} intervals, one by one. alpha alone: a law with an "
        "offset for each value by itself. The others are of one fit with a floor in common: "
        f"{block['interval_method']}, {block['dof']} degrees of freedom. Offset: the loss above "
        f"the floor at {block['x']} = {digits(block['at'])} over that of {block['reference']}."
    )


def table(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a value."""
    rows: list[tuple[str, ...]] = []
    for one in block["values"]:
        alone = one["alone"]
        shown = (
            _ends(alone["alpha"]) if alone else "not made",
            _ends(one["exponent"]),
            _ends(one["exponent_difference"], "+.3f") if one["exponent_difference"] else "",
            _ends(one["offset_ratio"]) if one["offset_ratio"] else "1",
        )
        rows.append((str(one["value"]), str(one["sizes"]), *shown))
    return rows


def csv_rows(block: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """answer, axis, what, N, D, quantity, value, low, high, level, note."""
    scored, level = set_of(block["y"]), block["level"]
    head = ("by_axis", f"{block['axis']} on {scored}" if scored else block["axis"])
    rows: list[tuple[Any, ...]] = [
        (*head, "all", None, None, "floor", *block["floor"], level, block["y"])
    ]
    for one in block["values"]:
        for name, numbers_ in (one["alone"] or {}).items():
            rows.append((*head, one["value"], None, None, f"alone_{name}", *numbers_, level, ""))
    rows += [
        (*head, value, block["at"], None, name, *numbers_, level, block["x"])
        for value, name, numbers_ in compared(block)
    ]
    for test in block["tests"]:
        note = f"F = {test['F']!r} with {test['dof'][0]} and {test['dof'][1]} degrees of freedom"
        name = test["differ_in"]
        rows.append((*head, "test", None, None, f"{name}_share", test["share"], *[None] * 3, note))
        rows.append((*head, "test", None, None, f"{name}_p", test["p"], *[None] * 3, ""))
    return rows


def compared(block: Mapping[str, Any]) -> Iterator[tuple[str, str, list[float]]]:
    """(value, quantity, [number, low, high]) of the fit with a floor in common."""
    for one in block["values"]:
        for name in QUANTITIES:
            if one[name] is not None:
                yield str(one["value"]), name, one[name]


def _ends(values: Any, form: str = ".3f") -> str:
    return with_ends(values[0], values[1:], form).replace("-", MINUS)
