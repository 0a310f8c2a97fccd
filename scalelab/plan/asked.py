"""What is asked of runs beside laws: answers that the axes and measures of a study call for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from scalelab.config import Study
from scalelab.plan.designs import Design, optimum
from scalelab.plan.starts import KEY as INIT
from scalelab.plan.symbols import law_of_each_kind, of_several_kinds

FEWEST_SIZES = 4
"""Sizes of each value of an axis that a law for each of them takes."""

SPEED = "speed"
"""The measure that the front of loss against tokens a second is made of."""
DAMAGE = {"quantised", "pruned", SPEED}
"""Measures whose excess losses the answer `compression` is made of."""

TASKS = "tasks"
"""The measure whose accuracies the answer `downstream` is made of."""

NONE = "none"
"""How null is told among the values of an axis."""

COLUMNS = {"tokens": "D", "vocab_size": "vocab", "kind": "schedule"}
"""Columns of runs.csv that bear another name than the key of the study."""

NUMBERS = ("unique_tokens", "tokens_per_param", "D")
"""Columns of runs.csv that hold a number where the study says null."""

TEXTS = ("corpus.source", "corpus.mixture", "corpus.packages", "corpus.paths")
"""Axes whose values are texts."""


def column(key: str) -> str:
    """The column of runs.csv that holds a key of the study."""
    name = key.split(".")[-1]
    return COLUMNS.get(name, name)


def of_axes(
    study: Study, design: Design, sizes: Sequence[tuple[Mapping[str, Any], int]]
) -> Iterator[dict[str, Any]]:
    """The best value of each axis that can be put on a scale of logarithms; of others, such as
    words, a law for each value, where a ladder has sizes enough.

    Where the values are texts, the laws are those of each evaluation set: their own held-out splits
    are no common measure. Others are compared with null where it is one of them. sizes: of each
    run, the values of the axes by column, and N_active.
    """
    if of_several_kinds(study):
        if design.name == "ladder" and _sizes_of_each("source", sizes) >= FEWEST_SIZES:
            yield law_of_each_kind(study)
        return
    sets = [{"set": one.name} for one in study.evaluation.sets]
    for key, values in study.axes.items():
        if key == INIT:
            continue
        scale = _scale(values)
        if min(scale, default=0) > 0:
            if len(scale) > 2:
                yield optimum(column(key))
        elif design.name == "ladder" and _sizes_of_each(column(key), sizes) >= FEWEST_SIZES:
            for scored in sets if key in TEXTS and sets else [{}]:
                null = None in values and column(key) not in NUMBERS
                reference = {"reference": NONE} if null else {}
                yield {"answer": "by_axis", "axis": column(key), **scored, **reference}


def of_each_text(
    study: Study, answers: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each optimum asked of the runs on each text, where texts are crossed: losses of several texts
    are not compared. settings: of each run, the values of the axes by column."""
    columns = [column(key) for key in TEXTS if key in study.axes]
    parts = {tuple(setting.get(name) for name in columns): None for setting in settings}
    if not columns:
        parts = {}
    found = []
    for one in map(dict, answers):
        if parts and one["answer"] == "optimum":
            found += [one | {"where": dict(zip(columns, part, strict=True))} for part in parts]
        else:
            found.append(one)
    return found


def _scale(values: Sequence[Any]) -> set[float]:
    """The values of an axis as numbers, power rules by theirs at the reference; empty for words."""
    rules = [value.get("value", "") if isinstance(value, dict) else value for value in values]
    try:
        return {float(value) for value in rules}
    except (TypeError, ValueError):
        return set()


def of_starts(study: Study, tokens: Collection[int]) -> Iterator[dict[str, Any]]:
    """What a checkpoint is worth against random weights, where runs differ in D; tokens: these."""
    starts = study.axes.get(INIT, ())
    if None in starts and len(starts) > 1 and len(tokens) > 1:
        yield {"answer": "transfer"}


def of_measures(study: Study) -> Iterator[dict[str, Any]]:
    """What is read off measures."""
    if study.evaluation.measures:
        yield {"answer": "trend"}
    if DAMAGE & {*study.evaluation.measures}:
        yield {"answer": "compression"}
    if TASKS in study.evaluation.measures:
        yield {"answer": "downstream"}


def _sizes_of_each(name: str, sizes: Sequence[tuple[Mapping[str, Any], int]]) -> int:
    """Sizes of that value of an axis that has the fewest."""
    found: dict[Any, set[int]] = {}
    for setting, size in sizes:
        found.setdefault(setting.get(name), set()).add(size)
    return min(map(len, found.values()))
