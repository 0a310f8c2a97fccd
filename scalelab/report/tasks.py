"""The answer `downstream` as a table of the page and as rows of a file."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import numbers

HEADER = ("Task", "Chance", "Smallest", "Largest", "k", "gamma", "Predicted", "Observed")
MINUS = "\N{MINUS SIGN}"


def title(block: Mapping[str, Any]) -> str:
    """Heading of the section."""
    return "What the loss is worth in tasks"


def caption(block: Mapping[str, Any]) -> str:
    """What the table says."""
    return (
        "Accuracy of the smallest and the largest model; where it is above chance, the law of the "
        "error, 1 - chance - k exp(-gamma L), against the held-out loss L (Gadre et al. 2024, "
        f"equation 5), {numbers.percent(block['level'])} intervals in brackets. Predicted is the "
        "accuracy of the run of least loss from the law of the others. The tasks stand in "
        "docs/axes/tasks.md."
    )


def table(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each task."""
    rows = []
    for row in block["rows"]:
        law = row["law"] or {}
        held = law.get("heldout")
        rows.append(
            (
                row["task"],
                "" if row["chance"] is None else f"{row['chance']:g}",
                *(_accuracy(row["runs"][place]) for place in (0, -1)),
                *(_parameter(law, name) for name in ("k", "gamma")),
                _range(held["predicted"], held["interval"]) if held else "",
                f"{held['observed']:.3f}" if held else "",
            )
        )
    return rows


def csv_rows(block: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Accuracies, parameters and predictions, a row a number."""
    rows: list[tuple[Any, ...]] = []
    level = block["level"]
    for row in block["rows"]:
        head = ("downstream", row["task"])
        for one in row["runs"]:
            for score in ("accuracy", "continuous"):
                if one[score] is not None:
                    name = row["continuous"] if score == "continuous" else score
                    rows.append((*head, "run", one["N"], None, name, one[score], *[None] * 3, ""))
        law = row["law"]
        if law is None:
            rows.append((*head, "law", None, None, None, None, None, None, None, row["reason"]))
            continue
        for name, value in law["params"].items():
            ends = law["intervals"].get(name, [None, None])
            rows.append((*head, "law", None, None, name, value, *ends, level, ""))
        if held := law["heldout"]:
            ends, note = held["interval"], f"observed {held['observed']!r}"
            value = held["predicted"]
            rows.append((*head, "left out", None, None, "accuracy", value, *ends, level, note))
    return rows


def _accuracy(run: Mapping[str, Any]) -> str:
    error = "" if run["accuracy_se"] is None else f" ({run['accuracy_se']:.3f})"
    return f"{run['accuracy']:.3f}{error}"


def _parameter(law: Mapping[str, Any], name: str) -> str:
    if not law:
        return ""
    value = law["params"][name]
    return numbers.with_interval(value, *law["intervals"][name]).replace("-", MINUS)


def _range(value: float, ends: list[float | None]) -> str:
    return numbers.with_interval(value, *ends).replace("-", MINUS)
