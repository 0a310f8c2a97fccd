"""Columns of runs.csv that belong together."""

from collections.abc import Mapping
from typing import Any

SETTING = ("threads", "precision", "processes", "device")
"""What decides, beside the model, how quick a run is: rates compare within one setting only."""
SCORES = ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte")
"""What a held-out text gives a run."""

SPENT = ("epsilon", "delta", "noise_multiplier", "clip", "sampling_rate")
"""What a run with a privacy budget says of it, in columns such as privacy_epsilon."""

EXTENT = ("tokens", "bytes", "text_sha256")
"""What the scores are of: tokens scored, bytes of the original text that they stand for, and the
digest of the tokens."""

TASKS = "tasks/"
"""Head of the columns of the measure of tasks; what follows is the task and one of these."""
ACCURACY, CHANCE = "_accuracy", "_chance"
CONTINUOUS = ("_nats", "_margin_nats", "_answer_bits_per_byte")
"""A score without a threshold beside the accuracy; the first that a task has."""

SPEED = "_tokens_per_second"
"""End of the columns of measures that hold times, and are not the same when taken again."""
YARDSTICK = "yardstick"
"""What stands in place of a form for the model whose speed is measured beside that of each run."""


def of_set(name: str, column: str) -> str:
    """The column of an evaluation set: `news:loss_nats`. A name holds no colon."""
    return f"{name}:{column}"


def of_measure(measure: str, name: str) -> str:
    """The column of what a measure gives: `induction/score`; its error is `induction/score_se`."""
    return f"{measure}/{name}"


def is_measured(column: str) -> bool:
    """Whether a column is what a measure gives, or its error."""
    return "/" in column


def set_of(column: str) -> str | None:
    """The evaluation set that a column belongs to; None for the split that is reported."""
    name, colon, _ = column.rpartition(":")
    return name if colon else None


def measure_of(column: str) -> str:
    """A column without its set: `loss_nats` of `news:loss_nats`."""
    return column.rpartition(":")[2]


def part_of(block: Mapping[str, Any]) -> str:
    """The runs that an answer is of, where it is not all of them: `mixture english`; else empty."""
    return ", ".join(f"{column} {value}" for column, value in (block.get("where") or {}).items())
