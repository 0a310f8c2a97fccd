"""What a study's design asked, as sections of the page, as tables and as LaTeX macros."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalelab.evaluation.columns import part_of, set_of
from scalelab.figures import numbers
from scalelab.figures.optimum import label, named
from scalelab.figures.study import Study
from scalelab.laws.answers.words import digits, sentences
from scalelab.report import by_axis, compression, latex, modalities, tasks, transfer

COLUMNS = (
    *("answer", "axis", "what", "N", "D", "quantity", "value", "low", "high", "level"),
    "note",
)
FIGURES = {
    "by_axis": ("by_axis",),
    "compression": ("compression", "speed"),
    "downstream": ("tasks",),
    "frontier": ("isoflop", "contours", "approaches"),
    "modalities": ("modalities",),
    "optimum": ("optimum",),
    "transfer": ("transfer",),
    "trend": ("measures",),
}
"""Kinds that show an answer, the leading one first."""
OWN: dict[str, Any] = {
    "by_axis": by_axis,
    "compression": compression,
    "downstream": tasks,
    "modalities": modalities,
    "transfer": transfer,
}
"""Answers whose title, caption, table and rows of a file are in a module of their own."""
MANY = ("trend", "compression", "downstream", "modalities")
"""Answers with a sentence for each column, way, task or kind."""
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
MINUS = "\N{MINUS SIGN}"
Row = tuple[Any, ...]
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True)
class Section:
    """One answer on the page: sentences, one table of text cells, warnings."""

    title: str
    sentences: list[str]
    caption: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    warnings: list[str]
    kinds: tuple[str, ...] = field(default=())


def sections(study: Study) -> list[Section]:
    """A section for each answer, in the order asked."""
    return [_section(block) for block in study.answers if block["answer"] in FIGURES]


def lead(study: Study) -> list[str]:
    """The answers in sentences, without what they cost; those of a sentence a column stand in their
    section alone."""
    asked = [block for block in study.answers if block["answer"] not in MANY]
    return [text for block in asked for text in sentences({**block, "cost": None})]


def _section(block: Mapping[str, Any]) -> Section:
    if own := OWN.get(block["answer"]):
        return Section(
            title=own.title(block),
            sentences=sentences(block),
            caption=own.caption(block),
            header=own.HEADER,
            rows=own.table(block),
            warnings=list(block["warnings"]),
            kinds=FIGURES[block["answer"]],
        )
    table = {"frontier": _frontier_table, "optimum": _optimum_table, "trend": _trend_table}
    header, rows = table[block["answer"]](block)
    level = numbers.percent(block["level"])
    if block["answer"] == "frontier":
        title = "How to spend compute"
        caption = (
            f"The three approaches of Hoffmann et al. 2022; {level} intervals in brackets. a and b "
            "are the exponents of N_opt and D_opt in C; the optimum is that of the largest budget."
        )
    elif block["answer"] == "trend":
        title = "What size does beside the loss"
        caption = (
            f"A straight line in log10 N through the runs, {level} intervals in brackets; steady "
            "where each size goes the same way as the one before it. What is measured stands in "
            "docs/axes/inside.md."
        )
    else:
        title = f"The best {label(block['axis'])}" + (
            f": {part}" if (part := part_of(block)) else ""
        )
        caption = (
            f"{level} intervals: {block['interval_method']}. The basin is the range whose loss is "
            f"within {block['share']:.0%} of the least."
        )
    return Section(
        title=title,
        sentences=sentences(block),
        caption=caption,
        header=header,
        rows=rows,
        warnings=list(block["warnings"]),
        kinds=FIGURES[block["answer"]],
    )


def _frontier_table(block: Mapping[str, Any]) -> Table:
    header = ("Approach", "a", "b", "C (FLOPs)", "N_opt", "D_opt", "Tokens per parameter")
    rows: list[tuple[str, ...]] = []
    for one in block["approaches"]:
        if one["reason"] is not None:
            rows.append((one["approach"], "not made", "", "", "", "", ""))
            continue
        at = one["at"]
        exponents = [_exponent(one[name]) for name in ("N_opt", "D_opt")]
        rows.append(
            (
                *(one["approach"], *exponents, f"{at['flops']:.3g}"),
                *(_count(at[name]) for name in ("N", "D")),
                _range(at["tokens_per_parameter"]),
            )
        )
    return header, rows


def _optimum_table(block: Mapping[str, Any]) -> Table:
    header = ("N", "D", f"Best {label(block['axis'])}", "Basin", "Least loss", "Open", "Add")
    rows: list[tuple[str, ...]] = []
    for size in block["sizes"]:
        low, high = ("open" if end is None else digits(end) for end in size["basin"])
        best = _range([size["optimum"], *size["interval"]]) if size["optimum"] else "at an end"
        rows.append(
            (
                *(numbers.short(size["N"]), numbers.short(size["D"]), best),
                *(f"{low} to {high}", f"{size['least_loss']:.4f}"),
                *(size["open"] or "", digits(size["add"]) if size["add"] else ""),
            )
        )
    return header, rows


def _trend_table(block: Mapping[str, Any]) -> Table:
    header = ("Measure", "D", "Smallest", "Largest", "Change a tenfold of N", "Sizes", "Steady")
    rows: list[tuple[str, ...]] = []
    for row in block["rows"]:
        ends = [digits(row["sizes"][place]["value"]) for place in (0, -1)]
        change = _range([row["slope"], *row["interval"]]).replace("-", MINUS)
        steady = "yes" if row["steady"] else "no"
        at = numbers.short(row["tokens"]) if row["tokens"] else "the most"
        rows.append((row["column"], at, *ends, change, str(len(row["sizes"])), steady))
    return header, rows


def _exponent(law: Mapping[str, Any]) -> str:
    low, high = law["interval"]
    return numbers.with_interval(float(law["exponent"]), low, high).replace("-", MINUS)


def _range(values: Sequence[float | None]) -> str:
    """`3.66 [3.57, 3.76]` in three digits; a missing end is `open`."""
    value, *ends = ("open" if v is None else digits(v) for v in values)
    return value if all(v is None for v in values[1:]) else f"{value} [{', '.join(ends)}]"


def _count(values: Sequence[float | None]) -> str:
    value, *ends = ("open" if v is None else numbers.short(v) for v in values)
    return value if all(v is None for v in values[1:]) else f"{value} [{', '.join(ends)}]"


def csv_rows(study: Study) -> list[Row]:
    """One row a number of every answer, at full precision; `COLUMNS` are its columns."""
    rows: list[Row] = []
    for block in study.answers:
        level = block.get("level")
        if block["answer"] == "frontier":
            rows += [row for one in block["approaches"] for row in _frontier_rows(one, level)]
        elif block["answer"] == "optimum":
            rows += _optimum_rows(block, level)
        elif own := OWN.get(block["answer"]):
            rows += own.csv_rows(block)
        elif block["answer"] == "trend":
            rows += [row for one in block["rows"] for row in _trend_rows(one, level)]
    return rows


def _trend_rows(one: Mapping[str, Any], level: float | None) -> list[Row]:
    head, tokens = ("trend", one["column"]), one["tokens"]
    slope = (
        *head,
        "line",
        None,
        tokens,
        "slope",
        one["slope"],
        *one["interval"],
        level,
        "a tenfold",
    )
    return [slope] + [
        (*head, "size", size["N"], tokens, "mean", size["value"], None, None, None, "")
        for size in one["sizes"]
    ]


def _frontier_rows(one: Mapping[str, Any], level: float | None) -> list[Row]:
    head = ("frontier", None, one["approach"], None, None)
    if one["reason"] is not None:
        return [(*head, "not made", None, None, None, None, one["reason"])]
    rows: list[Row] = []
    for name in ("N_opt", "D_opt"):
        ends = one[name]["interval"]
        rows.append((*head, f"{name}_exponent", one[name]["exponent"], *ends, level, ""))
    for name in ("N", "D", "tokens_per_parameter", "loss"):
        values = one["at"].get(name) or (None, None, None)
        rows.append((*head, name, *values, level, f"at C = {one['at']['flops']!r}"))
    return rows


def _optimum_rows(block: Mapping[str, Any], level: float | None) -> list[Row]:
    axis, rows = named(block), []
    for size in block["sizes"]:
        head = ("optimum", axis, "size", size["N"], size["D"])
        note = f"open {size['open']}, add {size['add']!r}" if size["open"] else ""
        rows += [
            (*head, "optimum", size["optimum"], *size["interval"], level, note),
            (*head, "best_tried", size["best"], None, None, None, ""),
            (*head, "basin", None, *size["basin"], None, f"within {block['share']:.3g}"),
            (*head, "least_loss", size["least_loss"], None, None, None, block["y"]),
        ]
    if block["rule"]:
        rule, law = block["rule"], block["law"]
        at = (rule["at"], None) if rule["of"] == "N" else (None, rule["at"])
        name = ("optimum", axis, "rule")
        rows += [
            (*name, *at, "value", rule["value"], *law["value_interval"], level, ""),
            (*name, None, None, "exponent", rule["exponent"], *law["interval"], level, rule["of"]),
        ]
    return rows


def tex(head: str, study: Study) -> str:
    """A tabular for each answer, under one comment."""
    tables = []
    for section in sections(study):
        header = [latex.escape(name) for name in section.header]
        rows = [[latex.escape(cell).replace(MINUS, "$-$") for cell in row] for row in section.rows]
        caption = f"{head}\n{section.title}. {section.caption}"
        tables.append(latex.booktabs(caption, "l" + "r" * (len(header) - 1), header, rows))
    return "\n".join(tables) or latex.comment(f"{head}\nNo answers were asked for.") + "\n"


def macros(study: Study) -> dict[str, str]:
    """Macros of the exponents by approach, and of each rule."""
    found: dict[str, str] = {}
    for block in study.answers:
        if block["answer"] == "frontier":
            for one in block["approaches"]:
                if one["reason"] is None:
                    name = f"{one['approach'].capitalize()}Exponent"
                    found |= _triple(name, one["N_opt"]["exponent"], one["N_opt"]["interval"])
        elif block["answer"] == "optimum" and block["rule"]:
            name, rule = _letters(named(block)), block["rule"]
            found[f"Rule{name}Value"] = latex.anywhere(digits(rule["value"]))
            found[f"Rule{name}At"] = latex.anywhere(latex.power(rule["at"], 1))
            found |= _triple(f"Rule{name}Exponent", rule["exponent"], block["law"]["interval"])
        elif block["answer"] == "by_axis":
            for value, quantity, (middle, *ends) in by_axis.compared(block):
                scored = set_of(block["y"]) or ""
                name = "".join(map(_letters, (block["axis"], scored, value, quantity)))
                found |= _triple(f"By{name}", middle, ends)
    return found


def _triple(name: str, value: float, ends: Sequence[float | None]) -> dict[str, str]:
    texts = numbers.estimate(float(value), ends[0], ends[1])
    return {
        name + suffix: latex.anywhere(text)
        for suffix, text, known in zip(("", "Low", "High"), texts, (value, *ends), strict=True)
        if known is not None
    }


def _letters(axis: str) -> str:
    """`batch_tokens` as BatchTokens, `beta2` as BetaTwo: macros are of letters alone."""
    words = "".join(DIGITS[int(c)] if c.isdigit() else c for c in axis if c.isalnum() or c == "_")
    return "".join(part[:1].upper() + part[1:] for part in words.split("_"))
