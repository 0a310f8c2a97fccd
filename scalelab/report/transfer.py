"""Effective data transferred, as a table of the page and as rows of answers.csv."""

from collections.abc import Mapping
from typing import Any

from scalelab.evaluation.columns import set_of
from scalelab.figures import numbers
from scalelab.laws.answers.words import digits, with_ends

HEADER = ("Start", "N", "D_F", "Loss", "From random weights", "D_E", "D_T", "D_T / D_E")
MINUS = "\N{MINUS SIGN}"


def title(block: Mapping[str, Any]) -> str:
    """Heading of the section."""
    scored = set_of(block["y"])
    return f"What the checkpoint is worth in data{f', on the set {scored}' if scored else ''}"


def caption(block: Mapping[str, Any]) -> str:
    """What the columns are."""
    return (
        "D_F: tokens seen after the checkpoint. D_E: tokens with which the same size reaches this "
        "loss from random weights, read off between measured runs. D_T = D_E "
        f"{MINUS} D_F (Hernandez et al. 2021). From random weights: the loss at as many tokens, "
        f"where it was measured. {numbers.percent(block['level'])} intervals in brackets: "
        f"{block['interval_method']}."
    )


def table(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each checkpoint, N and D_F."""
    return [
        (
            *(str(one["value"]), digits(cell["N"]), digits(cell["D"]), f"{cell['loss']:.4f}"),
            f"{cell['loss_scratch']:.4f}" if cell["loss_scratch"] else "",
            *_data(cell),
        )
        for one in block["values"]
        for cell in one["cells"]
    ]


def csv_rows(block: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """answer, axis, what, N, D, quantity, value, low, high, level, note."""
    scored, level = set_of(block["y"]), block["level"]
    axis = f"{block['axis']} on {scored}" if scored else block["axis"]
    rows: list[tuple[Any, ...]] = []
    for one in block["values"]:
        for cell in one["cells"]:
            head = ("transfer", axis, one["value"], cell["N"], cell["D"])
            note = "" if cell["bound"] is None else f"{cell['bound']} than {_limit(cell)!r}"
            rows += [
                (*head, name, cell[name], *cell[f"{name}_interval"], level, note)
                for name in ("effective", "transferred")
            ]
        if law := one["law"]:
            at = ("transfer", axis, one["value"], law["at"]["N"], law["at"]["D"])
            rows.append((*at, "law_transferred", *law["value"], level, ""))
            rows += [
                ("transfer", axis, one["value"], None, None, name, *law[name], level, "")
                for name in ("exponent_D", "exponent_N")
                if law[name]
            ]
    return rows


def _data(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    """D_E, D_T and the share of D_E that it is."""
    if cell["bound"] is not None:
        sign = ">" if cell["bound"] == "more" else "<"
        return f"{sign} {digits(_limit(cell))}", f"{sign} {_plain(_limit(cell) - cell['D'])}", ""
    shown = (
        with_ends(cell[name], cell[f"{name}_interval"]).replace("-", MINUS)
        for name in ("effective", "transferred")
    )
    effective, moved = shown
    return effective, moved, f"{cell['share']:.0%}".replace("-", MINUS)


def _limit(cell: Mapping[str, Any]) -> float:
    """The end of what was measured that D_E is beyond."""
    return float(cell["measured"][1 if cell["bound"] == "more" else 0])


def _plain(value: float) -> str:
    return digits(value).replace("-", MINUS)
