"""The law of each kind of sequence, as a table of the page and as rows of answers.csv."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import numbers
from scalelab.laws.answers.words import digits, with_ends

HEADER = ("Sequence", "Unit", "Smallest", "Largest", "Floor E", "alpha", "Difference", "Above E")
MINUS = "\N{MINUS SIGN}"


def title(block: Mapping[str, Any]) -> str:
    """Heading of the section."""
    return "The law of each kind of sequence"


def caption(block: Mapping[str, Any]) -> str:
    """What the columns are."""
    return (
        f"{numbers.percent(block['level'])} intervals: {block['interval_method']}, "
        f"{block['dof']} degrees of freedom. Losses of different kinds are different quantities, "
        "and only what has no unit is compared: the difference of an exponent to that of "
        f"{block['reference']}, and the share of the loss of the largest size that is above the "
        "floor."
    )


def table(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a kind."""
    return [
        (
            *(str(one["value"]), one["unit"], digits(one["smallest"]), digits(one["largest"])),
            *(_ends(one["floor"]), _ends(one["exponent"])),
            _ends(one["exponent_difference"], "+.3f") if one["exponent_difference"] else "",
            f"{one['above_floor']:.0%}",
        )
        for one in block["values"]
    ]


def csv_rows(block: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """answer, axis, what, N, D, quantity, value, low, high, level, note."""
    level, rows = block["level"], []
    for one in block["values"]:
        head = ("modalities", block["axis"], one["value"], None, None)
        found = {name: one[name] for name in ("floor", "exponent", "exponent_difference")}
        found |= {f"alone_{name}": value for name, value in (one["alone"] or {}).items()}
        rows += [
            (*head, name, *values, level, one["unit"])
            for name, values in found.items()
            if values is not None
        ]
        rows.append((*head, "above_floor", one["above_floor"], None, None, None, "share"))
    return rows


def _ends(values: Any, form: str = ".3f") -> str:
    return with_ends(values[0], values[1:], form).replace("-", MINUS)
