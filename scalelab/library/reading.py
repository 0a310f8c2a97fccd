"""Runs as a source tells them, turned into rows of a runs.csv."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scalelab.errors import UserError
from scalelab.laws.runs.cells import SEEDS, SETTINGS
from scalelab.laws.runs.clusters import RUN_COLUMNS
from scalelab.laws.runs.points import BARE_SIZES
from scalelab.laws.runs.rows import SAME_EVALUATION, failed
from scalelab.laws.runs.table import PERPLEXITY, parse_number
from scalelab.library import conditions, meaning
from scalelab.library.conditions import Condition
from scalelab.library.importers import Found

Row = dict[str, Any]
TEXTS = ("dataset", "corpus", "eval_dataset", "task", "benchmark")
"""Columns that say what a loss was measured on."""
KEPT = tuple(dict.fromkeys([*SETTINGS, *SEEDS, *SAME_EVALUATION, "vocab", *RUN_COLUMNS]))
NO_NUMBER = ("", "nan", "inf", "infinity", "none", "null", "na")


@dataclass(frozen=True)
class Options:
    """What the caller says about a source: see `scalelab import --help`."""

    columns: dict[str, str] = field(default_factory=dict)
    unit: str | None = None
    default_unit: str | None = None
    bare_loss: bool = True
    needs_tokens: bool = False
    tokens_per_step: float | None = None
    params: float | None = None
    dataset: str | None = None
    where: tuple[Condition, ...] = ()
    keep: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()


def read(found: Sequence[Found], options: Options, source: str) -> tuple[list[Row], list[str]]:
    """Rows of a runs.csv, and sentences about what was done.

    Each loss is the last one logged; tokens and FLOPs are those of its step. A run that has none,
    or one that is no number, gets a status that keeps it out of fits. source: opens a message.

    Raises:
        UserError: no run, a column that is missing or could be two, a cell that is no number, a
            unit or a data set that nothing says.
    """
    runs, notes = _once(found)
    if options.where:
        table = [_last_values(run) for run in runs]
        kept = [id(row) for row in conditions.select(table, options.where)]
        runs = [run for run, row in zip(runs, table, strict=True) if id(row) in kept]
    if not runs:
        raise UserError(f"{source}: no run is left of {len(found)}")
    keys = list(dict.fromkeys(key for run in runs for key in run.names()))
    columns = _columns(keys, options, source)
    unit = meaning.unit_of(columns["loss_nats"])
    if unit and options.unit and unit != options.unit:
        raise UserError(
            f"{source}: column {columns['loss_nats']!r} holds {unit}, but the unit given is "
            f"{options.unit}"
        )
    unit = unit or options.unit or options.default_unit
    if unit is None:
        raise UserError(
            f"{source}: column {columns['loss_nats']!r} does not say its unit: give nats, bits or "
            "perplexity (--unit)"
        )
    rows = [_row(run, columns, unit, options) for run in runs]
    notes += _perplexities(rows, runs, keys, columns["loss_nats"])
    if not any(row["status"] == "ok" for row in rows):
        why = "; ".join(dict.fromkeys(f"{row['status']}: {row['reason']}" for row in rows))
        raise UserError(f"{source}: none of {len(rows)} runs ended with a loss ({why})")
    _add_settings(rows, runs, keys, columns, options)
    _add_text(rows, options, source)
    return _whole_columns(rows, notes, options, source), notes


def _once(found: Sequence[Found]) -> tuple[list[Found], list[str]]:
    """Of several with one identity the longest."""
    longest: dict[str, Found] = {}
    times: dict[str, int] = {}
    for place, run in enumerate(found):
        key = run.identity if run.identity is not None else f"\0{place}"
        times[key] = times.get(key, 0) + 1
        if key not in longest or _length(run) >= _length(longest[key]):
            longest[key] = run
    notes = [
        f"run {run.name!r} is there {times[key]} times: the longest is taken ({run.source})"
        for key, run in longest.items()
        if times[key] > 1
    ]
    return list(longest.values()), notes


def _length(run: Found) -> float:
    step = meaning.find_step(run.names()) or "_step"  # W&B's own counter orders its folders
    steps = [row.get(step) for row in [*run.history, run.summary]]
    numbers = [float(value) for value in steps if isinstance(value, (int, float))]
    return max(numbers, default=float(len(run.history)))


def _last_values(run: Found) -> Row:
    last: Row = {"name": run.name, "label": run.name, **run.config}
    for row in run.history:
        last |= row
    last |= {**run.summary, "status": run.status}
    return {
        key: conditions.number(value) if isinstance(value, str) and key != "status" else value
        for key, value in last.items()
    }


def _columns(keys: list[str], options: Options, source: str) -> dict[str, str]:
    """{our name: key of the source}."""
    for name, key in options.columns.items():
        if name not in meaning.TARGETS:
            raise UserError(
                f"--columns {name}={key}: {name!r} is unknown, expected one of "
                f"{', '.join(meaning.TARGETS)}"
            )
        conditions.known(key, keys, f"{source}: --columns {name}")
    columns = dict(options.columns)
    for name in meaning.MEASURES:
        if name not in columns and (found := meaning.find(name, keys, source)):
            columns[name] = found
    if "step" not in columns and (step := meaning.find_step(keys)):
        columns["step"] = step
    if "loss_nats" not in columns:
        columns["loss_nats"] = meaning.find_loss(keys, options.bare_loss, source)
    if "N" not in columns and "N_total" not in columns and options.params is None:
        bare = [key for key in keys if meaning.plain(meaning.leaf(key)) in _SIZES]
        hint = f" (found {', '.join(bare)})" if bare else ""
        raise UserError(
            f"{source}: nothing says N, the parameters without embeddings: name its column with "
            f"--columns N=NAME, or give --params{hint}"
        )
    return columns


_SIZES = (*BARE_SIZES, "num_parameters", "n_parameters", "total_parameters", "trainable_params")


def _row(run: Found, columns: dict[str, str], unit: str, options: Options) -> Row:
    loss_key = columns["loss_nats"]
    at = max((i for i, row in enumerate(run.history) if _told(row.get(loss_key))), default=None)
    at = _end_of_step(run, at, columns.get("step"))
    status: str = run.status
    reason = run.reason
    told = {**run.config, **run.summary}
    if status == "ok" and failed(told.get("status")):
        status, reason = str(told["status"]), str(told.get("reason") or "the run says so")
    if status in options.accept:
        status, reason = "ok", None
    raw = _value(run, loss_key, at)
    text = str(raw).strip().lower().lstrip("+-") if raw is not None else ""
    if status == "ok" and text in NO_NUMBER:
        status = "diverged" if text in ("nan", "inf", "infinity") else "incomplete"
        reason = f"{loss_key} is {text}" if text else f"no {loss_key} was logged"
    bad = status != "ok"
    row: Row = {"id": run.identity, "label": run.name}
    for name in meaning.MEASURES:
        if name in columns:
            row[name] = _number(run, columns[name], at, False, bad)
    if options.params is not None:
        row["N"] = options.params
    step = _number(run, columns["step"], at, False, True) if "step" in columns else None
    if options.tokens_per_step is not None and step is not None:
        row["D"] = options.tokens_per_step * step
    row["steps"] = step
    loss = _number(run, loss_key, at, True, bad)
    row["loss_nats"] = None if loss is None or bad else _nats(loss, unit, run, loss_key)
    where = f" at step {step:.0f}" if step is not None and at is not None else ""
    return row | {
        "status": status,
        "reason": reason,
        "loss_from": f"{loss_key} ({unit}){where}",
        "source": run.source,
    }


def _end_of_step(run: Found, at: int | None, step: str | None) -> int | None:
    """The last row of the step of a row: what is logged beside a loss may stand behind it."""
    if at is None or step is None or run.history[at].get(step) is None:
        return at
    value = run.history[at][step]
    return max(i for i, row in enumerate(run.history) if i == at or row.get(step) == value)


def _value(run: Found, key: str, at: int | None) -> Any:
    """A value as it stood at a row of the history, None for the end of the run."""
    rows = run.history if at is None else run.history[: at + 1]
    for row in reversed(rows):
        if _told(row.get(key)):
            return row[key]
    if at is not None and any(_told(row.get(key)) for row in run.history):
        return None  # it was logged later alone
    found = run.summary.get(key)
    return found if _told(found) else run.config.get(key)


def _told(value: Any) -> bool:
    return value is not None and value != ""


def _number(run: Found, key: str, at: int | None, is_loss: bool, bad: bool) -> float | None:
    value = _value(run, key, at)
    if not _told(value):
        return None
    text = repr(value) if isinstance(value, float) else str(value)
    number = parse_number(f"{run.source}, column {key!r}", text.strip(), is_loss, bad)
    return None if math.isnan(number) else number


def _nats(value: float, unit: str, run: Found, key: str) -> float:
    if unit == "bits":
        return value * math.log(2)
    if unit == "perplexity":
        if value <= 1:
            raise UserError(
                f"{run.source}, column {key!r}: found {value:g}, but a perplexity is above 1"
            )
        return math.log(value)
    return value


def _perplexities(
    rows: Sequence[Row], runs: Sequence[Found], keys: Sequence[str], loss: str
) -> list[str]:
    """A sentence where a column that is called perplexity is not exp(loss)."""
    notes = []
    for key in keys:
        if key == loss or meaning.plain(meaning.leaf(key)) not in PERPLEXITY:
            continue
        for row, run in zip(rows, runs, strict=True):
            value = conditions.number(str({**run.config, **run.summary}.get(key)))
            if row["loss_nats"] is None or not isinstance(value, float):
                continue
            expected = math.exp(min(row["loss_nats"], 700.0))
            if not math.isclose(value, expected, rel_tol=0.01):
                notes.append(
                    f"column {key!r} is not exp of the loss (run {row['label']!r}: {value:g}, "
                    f"expected {expected:g}): one is measured otherwise, or its unit is wrong"
                )
                break
    return notes


def _add_settings(
    rows: list[Row],
    runs: Sequence[Found],
    keys: Sequence[str],
    columns: dict[str, str],
    options: Options,
) -> None:
    """Columns that tell runs apart: settings, seeds, what a loss was measured on, and --keep."""
    for name in options.keep:
        conditions.known(name, keys, "--keep")
    taken = {*columns.values()}
    chosen: dict[str, str] = {}
    told = [key for key in keys if any(key in run.config for run in runs)]
    told += [key for key in keys if key not in told and meaning.leaf(key) in TEXTS]
    for key in told:
        name = key if key in options.keep else meaning.leaf(key)
        wanted = key in options.keep or (name in (*KEPT, *TEXTS) and name not in rows[0])
        if wanted and key not in taken and (name not in chosen or len(key) < len(chosen[name])):
            chosen[name] = key
    if "seed" in columns:
        chosen["seed"] = columns["seed"]
    for name, key in chosen.items():
        values = [
            run.config.get(key, run.summary.get(key) if name in TEXTS else None) for run in runs
        ]
        if any(_told(value) for value in values):
            for row, value in zip(rows, values, strict=True):
                row[name] = value


def _add_text(rows: list[Row], options: Options, source: str) -> None:
    if options.dataset:
        for row in rows:
            row["dataset"] = options.dataset
    good = [row for row in rows if row["status"] == "ok"]
    if not any(all(_told(row.get(name)) for row in good) for name in TEXTS):
        raise UserError(
            f"{source}: nothing says what the losses were measured on: give it with --dataset NAME "
            "(losses of different texts do not compare)"
        )


def _whole_columns(rows: list[Row], notes: list[str], options: Options, source: str) -> list[Row]:
    """Counts that every good run has; 6 N D beside them."""
    good = [row for row in rows if row["status"] == "ok"]
    for name in (*meaning.MEASURES, "steps"):
        lack = [row["label"] for row in good if row.get(name) is None]
        if not lack:
            continue
        if name == "N" and "N_total" not in rows[0]:
            raise UserError(f"{source}: run {lack[0]!r} has no N (parameters without embeddings)")
        if name == "D" and options.needs_tokens:
            raise UserError(
                f"{source}: run {lack[0]!r} does not say how many tokens it saw: give "
                "--tokens-per-step"
            )
        if len(lack) < len(good):
            notes.append(f"column {name} is left out: {len(lack)} runs lack it ({lack[0]!r})")
        for row in rows:
            row.pop(name, None)
    if all("N" in row and "D" in row for row in good):
        for row in rows:
            size, tokens = row.get("N"), row.get("D")
            row["C_6ND"] = None if size is None or tokens is None else 6 * size * tokens
    else:
        notes.append("no D: laws of N and D cannot be fitted to these runs")
    left = [row for row in rows if row["status"] != "ok"]
    notes += [f"run {row['label']!r} is {row['status']} ({row['reason']})" for row in left]
    return rows
