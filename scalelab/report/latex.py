"""Small pieces of LaTeX: escaped text, numbers, booktabs tables."""

from collections.abc import Sequence

from scalelab.figures import numbers

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape(text: object) -> str:
    """Text that LaTeX sets as it stands, on one line."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(str(text).split()))


def comment(text: str) -> str:
    """Text as LaTeX comment lines; a line break in data cannot end the comment early."""
    return "\n".join(f"% {line}" for line in text.splitlines())


def math(value: float | None, places: int) -> str:
    """A number with fixed decimals in math mode (a real minus sign); a dash for None."""
    return "--" if value is None else f"${value:.{places}f}$"


def power(value: float | None, digits: int = 2) -> str:
    """A count in scientific notation; a dash for None."""
    parts = numbers.scientific(value, digits)
    return "--" if parts is None else rf"${parts[0]} \times 10^{{{parts[1]}}}$"


def anywhere(formula: str) -> str:
    """Mathematics for a macro that is used both in text and between dollar signs."""
    return rf"\ensuremath{{{formula.strip('$')}}}"


def booktabs(head: str, columns: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A tabular with booktabs rules under a comment; cells are LaTeX already."""
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    return (
        f"{comment(head)}\n% needs \\usepackage{{booktabs}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(header)} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )
