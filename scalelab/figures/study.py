"""A study as figures, tables and the report read it: runs.csv, laws.json, training curves."""

import csv
import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scalelab.errors import UserError
from scalelab.evaluation.columns import SCORES, measure_of, set_of
from scalelab.files import read_json
from scalelab.plan.objectives import CAUSAL, QUANTITIES, Objective
from scalelab.sums import check_seal

REQUIRED = ("id", "label", "N", "D", "loss_nats", "status")
Item = TypeVar("Item")
WHOLE_FIT = ("law", "x", "params", "points")


class NotInStudy(UserError):
    """A figure of what this study has no data for."""


@dataclass(frozen=True)
class Run:
    """One row of runs.csv. `loss_nats` is None for a run that gave no held-out loss."""

    id: str
    label: str
    status: str
    reason: str
    columns: Mapping[str, str]

    def number(self, column: str) -> float | None:
        """A column as a finite number, or None when it is absent, empty or not finite."""
        text = self.columns.get(column, "").strip()
        if not text:
            return None
        value = float(text)
        return value if math.isfinite(value) else None

    @property
    def ok(self) -> bool:
        """Whether the run ended well and has a held-out loss."""
        return self.status == "ok" and self.number("loss_nats") is not None

    @property
    def size(self) -> float:
        """Non-embedding parameters N."""
        return self.number("N") or 0.0


@dataclass(frozen=True)
class Study:
    """The runs of a study, its fitted laws, and where the curves of its runs lie."""

    name: str
    runs: tuple[Run, ...]
    laws: Mapping[str, Any]
    runs_root: Path

    @property
    def fits(self) -> list[dict[str, Any]]:
        """All fits of laws.json; the first is the primary one."""
        return list(self.laws.get("fits", []))

    @property
    def one_dimensional(self) -> list[dict[str, Any]]:
        """The fits with one explaining column, which a plane figure can show."""
        return [fit for fit in self.fits if isinstance(fit["x"], str)]

    @property
    def answers(self) -> list[dict[str, Any]]:
        """What the study's design asked, as laws.json answers it."""
        return list(self.laws.get("answers") or ())

    def answered(self, name: str) -> list[dict[str, Any]]:
        """The answers of one name; `NotInStudy` where there is none, with the reason if known."""
        found = [block for block in self.answers if block.get("answer") == name]
        if found:
            return found
        failed = [item for item in self.laws.get("failed") or () if item.get("answer") == name]
        why = f" ({failed[0]['reason']})" if failed else ""
        raise NotInStudy(f"laws.json of {self.name}: no answer {name}{why}")

    @property
    def objective(self) -> Objective:
        """What the held-out losses of the runs are."""
        found = next(
            (run.columns["quantity"] for run in self.runs if run.columns.get("quantity")), ""
        )
        return QUANTITIES.get(found, CAUSAL)

    @property
    def growth(self) -> dict[str, dict[str, Any]]:
        """How each cost grows with N, by its column of runs.csv (`laws.growth`)."""
        return {item["column"]: item for item in self.laws.get("growth") or ()}

    @functools.cached_property
    def named(self) -> dict[str, Run]:
        """The runs by id, and by label where that is no id."""
        return {**{run.label: run for run in self.runs}, **{run.id: run for run in self.runs}}

    def runs_of(self, point: Mapping[str, Any]) -> list[Run]:
        """The runs behind one point of a fit, which names them by id or by label.

        Raises UserError for a run that runs.csv does not have: the files are not of one study.
        """
        for name in point.get("runs", ()):
            if name not in self.named:
                raise UserError(
                    f"laws.json: a point names the run {name}, which runs.csv does not have: "
                    "expected the laws of the same study"
                )
        return [self.named[name] for name in point.get("runs", ())]


def even(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def load_study(
    runs_csv: str | Path, laws_json: str | Path | None, runs_root: str | Path | None = None
) -> Study:
    """Read a study's artifacts.

    `runs_root` is the folder with one folder a run; by default `runs` beside the study's folder.
    Raises UserError for a missing file, column or field and for a number that is none.
    """
    runs_csv = Path(runs_csv)
    runs = read_runs(runs_csv)
    laws = read_laws(Path(laws_json)) if laws_json else {"fits": []}
    root = Path(runs_root) if runs_root else runs_csv.parent.parent / "runs"
    return Study(str(laws.get("study") or runs_csv.parent.name), runs, laws, root)


def read_runs(path: Path) -> tuple[Run, ...]:
    """Read runs.csv, sorted by N and label; every number is checked once, here."""
    check_seal(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
            header = reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file in UTF-8, but {error}") from None
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise UserError(f"{path}: column {missing[0]} is missing; found {', '.join(header)}")
    if not rows:
        raise UserError(f"{path}: no runs; expected one row a run")
    runs = [_run(path, number, row) for number, row in enumerate(rows, 2)]
    return tuple(sorted(runs, key=lambda run: (run.size, run.label, run.id)))


NUMBERS = (
    *("N", "N_active", "N_total", "N_embedding", "D", "C", "C_6ND", "tokens_per_param", "budget"),
    *("unique_tokens", "lr", "batch_tokens", "depth", "width", "context", "vocab"),
    *("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"),
    *("tokens_per_second", "seconds", "flops_per_second", "mfu"),
    *("peak_memory_bytes", "checkpoint_bytes", "threads", "processes", "steps", "trunk_steps"),
)


def _run(path: Path, number: int, row: dict[str, str | None]) -> Run:
    columns = {key: value or "" for key, value in row.items() if key is not None}
    scores = [name for name in columns if set_of(name) and measure_of(name) in SCORES]
    for name in (*NUMBERS, *scores):
        text = columns.get(name, "").strip()
        try:
            float(text or 0)
        except ValueError:
            raise UserError(
                f"{path}: line {number}, column {name}: found {text!r}, expected a number"
            ) from None
    run = Run(
        id=columns["id"],
        label=columns["label"] or columns["id"],
        status=columns["status"] or "unknown",
        reason=columns.get("reason", ""),
        columns=columns,
    )
    if run.size <= 0:
        raise UserError(
            f"{path}: line {number}, column N: found {columns['N']!r}, expected a number above 0"
        )
    return run


def read_laws(path: Path) -> dict[str, Any]:
    """Read laws.json and check that each fit has the fields that every reader needs."""
    check_seal(path)
    laws = read_json(path)
    if not isinstance(laws, dict) or not isinstance(laws.get("fits"), list):
        raise UserError(f"{path}: expected an object with a list called fits")
    for number, fit in enumerate(laws["fits"]):
        for key in WHOLE_FIT:
            if key not in fit:
                raise UserError(f"{path}: fits[{number}] has no {key}")
    return laws


def read_curve(study: Study, run: Run) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl with positive tokens and a finite loss.

    A failed run may have no file, which gives an empty list. For a run that ended well a missing
    file is a UserError, since the figure would lack a curve without saying so.
    """
    path = study.runs_root / run.id / "metrics.jsonl"
    if not path.exists():
        if run.ok:
            raise UserError(f"{path}: no such file, expected the curve of run {run.label}")
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            loss = line["loss_nats"]
            point = {key: float(line[key]) for key in ("tokens", "flops")}
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: line {number}: expected a JSON object with tokens, flops and loss_nats, "
                f"but {type(error).__name__}: {error}"
            ) from None
        if loss is not None and math.isfinite(float(loss)) and min(point.values()) > 0:
            lines.append({**point, "loss_nats": float(loss)})
    return lines


def value_at(fit: Mapping[str, Any], item: Mapping[str, Any]) -> float:
    """The x of one of a fit's points, whether it is stored under the column's name or as x."""
    for key in (fit["x"], "x", "N"):
        if item.get(key) is not None:
            return float(item[key])
    raise UserError(f"laws.json: a point of {fit['law']} has no {fit['x']}")


def predicted(item: Mapping[str, Any]) -> float:
    """A prediction of a fit, in the unit of the fit's y, which its key names."""
    for key, value in item.items():
        if key.startswith("predicted_") and value is not None:
            return float(value)
    raise UserError("laws.json: expected a key such as predicted_nats in each row of a fit")
