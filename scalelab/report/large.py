"""What the page of a large study leaves out, so that it stays below 5 MB, and the words for that.

A study of up to MOST_RUNS runs is shown whole. The numbers that are said of a study (laws, costs,
residuals) are always of all its runs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from scalelab.figures.study import Run, Study, even
from scalelab.report.answers import Section

MOST_RUNS = 500
"""Rows of the table of runs, and runs in the plots."""
MOST_POINTS = 500
"""Points of a law in its plot."""
MOST_ROWS = 300
"""Rows of any other table."""
MOST_NAMED = 50
"""Warnings, or runs named one by one in a text."""


def thinned(study: Study) -> Study:
    """The study with the runs that the page shows."""
    if len(study.runs) <= MOST_RUNS:
        return study
    return dataclasses.replace(study, runs=tuple(even(study.runs, MOST_RUNS)))


def note(study: Study) -> str | None:
    """A sentence on the runs that the page does not show; None where it shows all."""
    if len(study.runs) <= MOST_RUNS:
        return None
    return (
        f"The plots and this table show {MOST_RUNS:,} of the {len(study.runs):,} runs, evenly "
        "chosen in the order of N; runs.csv beside this page has all of them."
    )


def rows_note(count: int, file: str) -> str:
    """A sentence for the caption of a table of `count` rows; empty where all are shown."""
    if count <= MOST_ROWS:
        return ""
    return f" {MOST_ROWS:,} of {count:,} rows, evenly chosen; all are in {file}."


def first(texts: Sequence[str], file: str) -> list[str]:
    """The first texts, and how many more there are in which file."""
    left = len(texts) - MOST_NAMED
    return [*texts[:MOST_NAMED], f"{left:,} more in {file}"] if left > 0 else list(texts)


def section(item: Section) -> Section:
    """An answer with at most so many rows and warnings."""
    return dataclasses.replace(
        item,
        caption=item.caption + rows_note(len(item.rows), "tables/answers.csv"),
        rows=even(item.rows, MOST_ROWS),
        warnings=first(item.warnings, "laws.json"),
    )


def left_out(excluded: Sequence[tuple[Run, str]]) -> list[str]:
    """Sentences on runs with a loss that are not in the primary fit; of many, one a reason."""
    if len(excluded) <= MOST_NAMED:
        return [
            f"{run.label} has a loss but is not in the primary fit: {why}." for run, why in excluded
        ]
    labels: dict[str, list[str]] = {}
    for run, why in excluded:
        labels.setdefault(why, []).append(run.label)
    return [
        f"{len(names):,} runs have a loss but are not in the primary fit: {why} "
        f"({names[0]} the first of them)."
        for why, names in labels.items()
    ]


def of_points(fit_points: Sequence[Any]) -> dict[str, Any]:
    """For the scripts: how many points the law has, and why the page does not fit it again."""
    if len(fit_points) <= MOST_POINTS:
        return {}
    return {
        "of": len(fit_points),
        "refit": f"The page holds {MOST_POINTS:,} of the {len(fit_points):,} points of this law, "
        "so it is not fitted again here: scalelab fit does it, on a table without those rows.",
    }
