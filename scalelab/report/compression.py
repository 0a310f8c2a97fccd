"""The answer `compression` as a table of the page and as rows of a file."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import numbers

HEADER = ("Compression", "Exponent of N", "Exponent of D/N", "Scatter", "Runs")
MINUS = "\N{MINUS SIGN}"


def title(block: Mapping[str, Any]) -> str:
    """Heading of the section."""
    return "What compression costs"


def caption(block: Mapping[str, Any]) -> str:
    """What the table says."""
    return (
        "Damage is the loss with compressed weights less that with whole ones; its logarithm is a "
        f"straight line in log N and log D/N, {numbers.percent(block['level'])} intervals in "
        "brackets. Scatter is that of the logarithm. What is compressed stands in "
        "docs/axes/compression.md."
    )


def table(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each way to compress."""
    return [
        (
            row["way"],
            _exponent(row["exponent_N"]),
            _exponent(row["exponent_tokens_per_parameter"]),
            f"{row['scatter']:.2f}",
            str(row["points"]),
        )
        for row in block["rows"]
    ]


def csv_rows(block: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Exponents, damages and the fronts, a row a number."""
    rows: list[tuple[Any, ...]] = []
    level = block["level"]
    for row in block["rows"]:
        head = ("compression", row["way"])
        for name in ("exponent_N", "exponent_tokens_per_parameter"):
            if row[name]:
                rows.append((*head, "line", None, None, name, *row[name], level, ""))
        rows += [
            (*head, "run", one["N"], one["D"], "excess_nats", one["excess"], None, None, None, "")
            for one in row["sizes"]
        ]
    for one in block["front"]:
        note = "on the front" if one["front"] else ""
        model = ("compression", one["form"], "model", one["N"], one["D"])
        rows.append((*model, "bytes", one["bytes"], None, None, None, note))
        rows.append((*model, "loss_nats", one["loss"], None, None, None, note))
    for one in block.get("speed_front", []):
        note = ", ".join(
            text
            for key, text in (("front", "on the front"), ("clear", "beyond the errors"))
            if one[key]
        )
        kind = f"model writing {one['texts']}"
        model = ("compression", one["form"], kind, one["N"], one["D"])
        rows.append((*model, "tokens_per_second", one["tokens_per_second"], None, None, None, note))
        rows.append((*model, "loss_nats", one["loss"], None, None, None, note))
    return rows


def _exponent(value: list[float] | None) -> str:
    return numbers.with_interval(*value).replace("-", MINUS) if value else ""
